"""A process that makes the run of `store.go`, to be killed or to race with others.

    python -m tests.campaign.victim [COUNT]

With a count, it kills itself with SIGKILL before that file operation.
"""

import os
import signal
import sys

from aef_core.metrics.evaluation import evaluate_run

from .store import before, go, judge, straight


def main(count: int = 0) -> None:
    """Say that it begins, and begin."""
    seen = [0]

    def die(name: str) -> None:
        seen[0] += 1
        if seen[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)

    straight()
    print("begins", flush=True)
    with before(die):
        evaluate_run(go(), judge())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
