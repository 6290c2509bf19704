"""How long a payer is waited for when its books are asked for, and whether it is worth asking it for more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import HubError, OutcomeUnknown, Unavailable

TRIES_MAX = 4
PAGE_TIMEOUT_S = 30.0


class BooksChanged(Unavailable):
    """The payer's books changed between two pages: read them again."""

    code = "statement.changed"


class TimeUp(Unavailable):
    """What is asked for is too much for the time that there is."""

    code = "statement.time_up"


class NotAsked(Unavailable):
    """The payer was not heard about something else a moment ago."""

    code = "statement.payer_away"


class NoWord(OutcomeUnknown):
    """The payer was heard, and has no usable word on one settlement of the day."""

    code = "statement.no_word"


_HEARD = (BooksChanged, TimeUp, NoWord)


def away(error: HubError) -> bool:
    """Whether nothing was heard from the payer, so that asking it for another day would only take as long again."""
    return isinstance(error, (Unavailable, OutcomeUnknown)) and not isinstance(error, _HEARD)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often each question is asked, and until when (by `monotonic`) there is time to ask; None: for ever."""

    tries_max: int = TRIES_MAX
    until: float | None = None
    monotonic: Callable[[], float] = time.monotonic

    @property
    def left_s(self) -> float | None:
        """Seconds until the time is up; None when there is no end."""
        return None if self.until is None else self.until - self.monotonic()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        left_s = self.left_s
        return left_s is not None and left_s <= 0

    def timeout_s(self) -> float:
        """For the next question. TimeUp when there is no time for one."""
        left_s = self.left_s
        if left_s is not None and left_s <= 0:
            raise TimeUp("the time for asking is up: fetch it alone, by hub recon pull")
        return PAGE_TIMEOUT_S if left_s is None else min(PAGE_TIMEOUT_S, left_s)
