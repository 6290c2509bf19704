"""Handing what arrived together to a handler, and giving each delivery its verdict when the handler raises."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from hub.broker.transport import BatchHandler, Delivery, dead, retry
from schemas.errors import HubError, Unavailable

log = structlog.get_logger(__name__)

_HOLD_S_MAX = 30.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.2, 5.0
_RETRY_DELAY_S = 5.0


class Settleable(Delivery, Protocol):
    """A delivery of our own transports: it also knows whether it still awaits its verdict."""

    @property
    def settled(self) -> bool: ...


D = TypeVar("D", bound=Settleable)


class BatchRunner:
    """Runs one handler; `stopping` cuts short the wait for something that is away."""

    def __init__(self, handle: BatchHandler, stopping: threading.Event, hold_s_max: float = _HOLD_S_MAX) -> None:
        self._handle = handle
        self._stopping = stopping
        self._hold_s_max = hold_s_max

    def run(self, batch: Sequence[D]) -> None:
        """Handle `batch`. A handler that raises must not have kept deliveries to settle later."""
        try:
            self._handle(batch)
        except Exception as error:  # noqa: BLE001 - every delivery ends in a verdict below
            self._after_error([one for one in batch if not one.settled], error)

    def _after_error(self, left: list[D], error: Exception) -> None:
        if not left:
            log.exception("handler_failed_after_settling", error=type(error).__name__)
        elif is_unavailable(error):
            self._hold(left, error)
        elif len(left) == 1:
            self._condemn(left[0], error)
        else:
            middle = len(left) // 2
            self.run(left[:middle])
            self.run(left[middle:])

    def _hold(self, left: list[D], error: Exception) -> None:
        """Try again in place for a while: what is away for one message is away for all of them."""
        until = time.monotonic() + self._hold_s_max
        pause_s = _PAUSE_S_MIN
        while time.monotonic() < until and not self._stopping.is_set():
            log.warning("handler_waits", messages=len(left), error=type(error).__name__)
            self._stopping.wait(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            try:
                self._handle(left)
                return
            except Exception as again:  # noqa: BLE001 - every delivery ends in a verdict
                left = [one for one in left if not one.settled]
                if not left or not is_unavailable(again):
                    self._after_error(left, again)
                    return
        for one in left:
            one.settle(retry(_RETRY_DELAY_S, cause_of(error)))

    @staticmethod
    def _condemn(delivery: Settleable, error: Exception) -> None:
        # A HubError holds identifiers and field names only; the text of any other error may hold anything.
        detail = str(error) if isinstance(error, HubError) else type(error).__name__
        log.error(
            "delivery_condemned",
            queue=delivery.queue,
            message_id=delivery.message_id,
            cause=cause_of(error),
            error=type(error).__name__,
            exc_info=not isinstance(error, HubError),
        )
        delivery.settle(dead(cause_of(error), detail))


def is_unavailable(error: BaseException) -> bool:
    """Whether something we need is away, so that the same work may succeed later."""
    if isinstance(error, Unavailable | OperationalError | InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def cause_of(error: BaseException) -> str:
    """The code that a dead or retried message carries."""
    if isinstance(error, HubError):
        return error.code
    return Unavailable.code if is_unavailable(error) else "hub.bug"
