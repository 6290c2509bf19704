"""A small process that outlives a killed test run and clears away its server.

It reads lines from its standard input: `+<pid> <signal>` (this process group is to end with me), `-<pid>` (it has ended
already). When the pipe closes, because the owner closed it or died in whatever way, it ends what is left and removes
the server's folder. Started by file name with no imports of the project, so that it is up at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

PATIENCE_S = 5.0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def end(pid: int, number: int) -> None:
    """End a process group, kindly first: a PostgreSQL killed outright would leave shared memory behind."""
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)


def remove(folder: str) -> None:
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)


def main(folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, int] = {}
    for line in sys.stdin:
        pid = line[1:].split()[0]
        if line.startswith("+"):
            groups[int(pid)] = int(line.split()[1])
        else:
            groups.pop(int(pid), None)
    for pid_, number_ in reversed(groups.items()):
        end(pid_, number_)
    remove(folder)


if __name__ == "__main__":
    main(sys.argv[1])
