"""Named points at the boundaries where a process may die, armed only by the fault tests.

`HUB_FAILPOINTS=claim.after_commit=kill@3` kills this process with SIGKILL when it passes the point for the third time;
`raise` raises there instead, `hang` sleeps for HANG_S, `hang:2` for two seconds.
Nothing is armed unless `arm` is called, so a point costs one look at an empty dictionary.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

ACTIONS = ("kill", "raise", "hang")
HANG_S = 30.0


class FailpointReached(RuntimeError):
    """The armed failure of a `raise` point."""


@dataclass(slots=True)
class _Armed:
    action: str
    countdown: int
    hang_s: float


_armed: dict[str, _Armed] = {}
_listener: Callable[[str], None] | None = None
_lock = threading.Lock()


def arm(specification: str) -> None:
    """Arm points from `name=action@n,…`; ValueError says what is wrong with the text. An empty text disarms all."""
    armed = {}
    for part in filter(None, specification.split(",")):
        name, _, what = part.partition("=")
        how, _, count = what.partition("@")
        action, _, hang_s = how.partition(":")
        if action not in ACTIONS or not (count or "1").isdigit() or not (hang_s or "1").isdigit():
            raise ValueError(f"{part}: write name=kill@3, name=raise@1, name=hang@1 or name=hang:2@1")
        armed[name] = _Armed(action, int(count or 1), float(hang_s or HANG_S))
    _armed.clear()
    _armed.update(armed)


def watch(listener: Callable[[str], None] | None) -> None:
    """Call `listener` with the name of every point that is passed; it may raise. None ends it. For the simulator."""
    global _listener
    _listener = listener


def failpoint(name: str) -> None:
    """Die, raise or hang here if this point is armed and its turn has come."""
    if _listener is not None:
        _listener(name)
    if _armed and name in _armed:
        _reached(name)


def _reached(name: str) -> None:
    with _lock:
        point = _armed[name]
        point.countdown -= 1
        if point.countdown != 0:
            return
    log.warning("failpoint_reached", point=name, action=point.action)
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.action == "hang":
        time.sleep(point.hang_s)
        return
    raise FailpointReached(name)
