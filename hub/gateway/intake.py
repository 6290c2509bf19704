"""Messages from HTTP to the desk in batches; errors are sorted by what the caller may do about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from hub.inbound import Inbound, Taken
from schemas.errors import OutcomeUnknown, Unavailable
from store.database import database_is_away

log = structlog.get_logger()

Take = Callable[[Sequence[Inbound]], list[Taken]]
_TRANSIENT_STATES = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: the database chose one of two to begin again."""


class SureIntake:
    """Takes a batch and always has a result for each message: the desk's, or why there is none."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def __call__(self, batch: Sequence[Inbound]) -> list[Taken | Exception]:
        return self._attempt(batch, may_repeat=True)

    def _attempt(self, batch: Sequence[Inbound], *, may_repeat: bool) -> list[Taken | Exception]:
        try:
            return list(self._take(batch))
        except Exception as error:  # noqa: BLE001 - every message gets a result; the one who asked logs it
            if database_is_away(error):
                return self._after_absence(batch, error, may_repeat=may_repeat)
            if len(batch) == 1:
                return [error]
            # A culprit must not spoil its batch; repeating the others is harmless.
            middle = len(batch) // 2
            return self._attempt(batch[:middle], may_repeat=may_repeat) + self._attempt(
                batch[middle:], may_repeat=may_repeat
            )

    def _after_absence(
        self, batch: Sequence[Inbound], error: Exception, *, may_repeat: bool
    ) -> list[Taken | Exception]:
        broken = isinstance(error, DBAPIError) and error.connection_invalidated
        if may_repeat and (broken or _state_of(error) in _TRANSIENT_STATES):
            return self._attempt(batch, may_repeat=False)
        log.warning("database_away", what="take messages", waiting=len(batch), error=type(error).__name__)
        # A connection that broke may have carried the commit.
        cause = OutcomeUnknown("the connection to the database broke") if broken else Unavailable("no database")
        return [cause for _ in batch]


def _state_of(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None), "pgcode", None) or "")
