"""Processes that stand still for a while: they keep their connections and answer nobody."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import psutil

from tests.support.processes import family, signal_all


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """These processes with all their children, stopped (SIGSTOP) for the length of the block."""
    stopped: list[psutil.Process] = []
    try:
        for pid in pids:
            # Children that appear while we stop their parent are found by the second look.
            for _ in range(2):
                found = [one for one in family(pid) if one not in stopped]
                signal_all(found, signal.SIGSTOP)
                stopped += found
        yield
    finally:
        signal_all(stopped, signal.SIGCONT)
