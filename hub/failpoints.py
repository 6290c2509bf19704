"""Named points at the boundaries where a process may die, armed only by the fault tests.

`HUB_FAILPOINTS=claim.after_commit=kill@3` kills this process with SIGKILL when it passes the point for the third time.
Nothing is armed unless `arm` is called, so a point costs one look at an empty dictionary.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass

ACTIONS = ("kill", "raise")


class FailpointReached(RuntimeError):
    """The armed failure of a `raise` point."""


@dataclass(slots=True)
class _Armed:
    action: str
    countdown: int


_armed: dict[str, _Armed] = {}
_lock = threading.Lock()


def arm(specification: str) -> None:
    """Arm points from `name=action@n,…`; ValueError says what is wrong with the text. An empty text disarms all."""
    armed = {}
    for part in filter(None, specification.split(",")):
        name, _, what = part.partition("=")
        action, _, count = what.partition("@")
        if action not in ACTIONS or not (count or "1").isdigit():
            raise ValueError(f"{part}: write name=kill@3 or name=raise@1")
        armed[name] = _Armed(action, int(count or 1))
    _armed.clear()
    _armed.update(armed)


def failpoint(name: str) -> None:
    """Die or raise here if this point is armed and its turn has come."""
    if _armed and name in _armed:
        _reached(name)


def _reached(name: str) -> None:
    with _lock:
        point = _armed[name]
        point.countdown -= 1
        if point.countdown != 0:
            return
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FailpointReached(name)
