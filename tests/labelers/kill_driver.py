"""A labelling run that is killed again and again, for `test_kill.py`: python kill_driver.py URL STORE OUTPUT KILLS

Each attempt is a fork, so that the imports are paid for once; the parent kills it with SIGKILL after a random time, at most
KILLS times, and then lets one end.
"""

import os
import random
import signal
import sys
import time

from rlhf_ext.generation import EndpointGenerator
from rlhf_ext.labelers import PairwiseLabeler

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from tests.labelers.endpoint import rows


def label(url, store, output):
    generator = EndpointGenerator(url, "judge", max_concurrency=8)
    PairwiseLabeler(generator, "helpful", mode="text", store=store).label(rows(500)).save(output)


def main(url, store, output, kills):
    pick, killed = random.Random(0), 0
    while True:
        child = os.fork()
        if child == 0:
            label(url, store, output)
            os._exit(0)
        if killed < kills:
            time.sleep(pick.uniform(0.1, 0.5))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        assert status == 0, status
        print(killed, flush=True)
        return


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
