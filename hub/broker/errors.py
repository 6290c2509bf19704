"""What may be said of an error in a log: its class and place, never its text, which may hold a patient's data."""

from __future__ import annotations

import traceback

from schemas.errors import HubError

_FRAMES = 4


def described(error: BaseException) -> dict[str, str]:
    """Fields for a log event. Only our own errors speak for themselves: they hold identifiers and field names."""
    fields = {"error": type(error).__name__, "where": _where(error)}
    if isinstance(error, HubError):
        fields["detail"] = str(error)
    return fields


def _where(error: BaseException) -> str:
    """The innermost calls, outermost first: `handle@intake.py:41 > parse@codec.py:12`."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " > ".join(f"{frame.name}@{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
