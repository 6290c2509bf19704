"""What takes longer than anybody wants to wait for a change: `python -m tests.support.soak --minutes 120`.

First the nemesis: random faults under steady traffic, all books compared at the end. Then, in a run of LONG_MINUTES or
more, the tests marked `soak` and the fault, contract and integration tests again and again: a race that shows once in a
thousand runs shows here. The first failure ends it; the seed that is printed repeats what can be repeated.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from tests.support import nemesis

FOLDERS = ("tests/faults", "tests/contract", "tests/integration")
LONG_MINUTES = 60.0
NEMESIS_PART = 0.5
"""Of a long run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    until = time.monotonic() + given.minutes * 60
    is_long = given.minutes >= LONG_MINUTES
    if not nemesis.run(given.minutes * (NEMESIS_PART if is_long else 1.0), given.seed):
        return 1
    return _again_and_again(until) if is_long else 0


def _again_and_again(until: float) -> int:
    rounds = 0
    while rounds == 0 or time.monotonic() < until:
        rounds += 1
        # The marked tests once, the others as often as there is time.
        chosen = [] if rounds == 1 else ["-m", "not soak"]
        print(f"== round {rounds}, hypothesis seed {rounds}", flush=True)
        command = [sys.executable, "-m", "pytest", *FOLDERS, f"--hypothesis-seed={rounds}", *(chosen or ["-m", ""])]
        if subprocess.run(command, check=False).returncode != 0:
            print(f"round {rounds} failed")
            return 1
    print(f"rounds passed: {rounds}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
