"""A gateway in a process of its own, to be stopped and killed: `python gateway_process.py DATABASE PORT UPSTREAM DRAIN`."""

import sys

from rlhf_ext.deployment.gateway import (
    GatewaySettings,
    LimitSettings,
    StoreSettings,
    Target,
    UpstreamSettings,
    create_gateway,
    listen,
    serve,
)

if __name__ == "__main__":
    database, port, upstream, drain = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    settings = GatewaySettings(
        upstreams={"up": UpstreamSettings(url=upstream)},
        models={"stub": Target(backend="up")},
        store=StoreSettings(database=database, texts=True),
        limits=LimitSettings(drain_seconds=drain, notice_seconds=0.3),
    )
    with listen("127.0.0.1", port) as at:
        serve(create_gateway(settings), at)
