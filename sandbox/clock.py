"""What time it is for the cast: one clock for all its parties, which a demo may set to another day."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8))
_lock = threading.Lock()
_ahead = timedelta(0)


def now() -> datetime:
    """The moment in China."""
    return datetime.now(CHINA) + _ahead


def set_ahead(seconds: float) -> None:
    """Go so many seconds ahead of the machine's clock, or behind it when below 0; every party of the process does."""
    global _ahead
    with _lock:
        _ahead = timedelta(seconds=seconds)
