"""Run the fault tests again and again: `python -m tests.support.soak --minutes 120`.

A race that shows once in a thousand runs shows here. Each round is the tests of every day and the long ones, which are
marked `soak`. The first failing round ends it, with the round's seed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

FOLDERS = ("tests/faults", "tests/contract", "tests/integration")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    minutes = parser.parse_args().minutes
    deadline = time.monotonic() + minutes * 60
    rounds = 0
    while rounds == 0 or time.monotonic() < deadline:
        rounds += 1
        print(f"== round {rounds}, hypothesis seed {rounds}", flush=True)
        # The last -m counts: the one of pyproject.toml leaves the long tests out.
        command = [sys.executable, "-m", "pytest", "-m", "soak or not soak", *FOLDERS, f"--hypothesis-seed={rounds}"]
        done = subprocess.run(command, check=False)
        if done.returncode != 0:
            print(f"round {rounds} failed")
            return 1
    print(f"rounds passed: {rounds}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
