"""A server in a process of its own, to be killed: `python server_process.py DATABASE PORT`."""

import sys

from rlhf_ext.data.store import FeedbackStore, WorkQueue
from rlhf_ext.deployment.feedback_ui import FeedbackSettings, create_feedback_app, listen, secret_key, serve

if __name__ == "__main__":
    database, port = sys.argv[1], int(sys.argv[2])
    settings = FeedbackSettings(
        secret_key=secret_key(database),
        admin_password="correct horse",
        answers_per_minute=100_000,
        logins_per_minute=1_000,
    )
    with listen("127.0.0.1", port) as at:
        serve(create_feedback_app(WorkQueue(FeedbackStore(database)), settings), at)
