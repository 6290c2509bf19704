"""The Prefer header (RFC 7240): how long a caller will wait for the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WAIT_S_MAX = 60
_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class Preference:
    """What the caller prefers; a preference that makes no sense counts as none, as the RFC asks."""

    wait_s: int | None = None
    respond_async: bool = False

    @property
    def wait_s_or_none(self) -> int | None:
        """Seconds to wait, at most WAIT_S_MAX; None when that is left to us."""
        if self.wait_s is not None:
            return self.wait_s
        return 0 if self.respond_async else None

    @property
    def applied(self) -> str:
        """The value of Preference-Applied; empty when there is nothing to say."""
        if self.wait_s is not None:
            return f"wait={self.wait_s}"
        return "respond-async" if self.respond_async else ""


def read_prefer(headers: Iterable[str]) -> Preference:
    """The preferences of all Prefer headers of a request; the first of a kind counts."""
    wait_s: int | None = None
    respond_async = False
    for part in ",".join(headers).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "respond-async":
            respond_async = True
        elif name == "wait" and wait_s is None and value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
            wait_s = min(int(value), WAIT_S_MAX)
    return Preference(wait_s, respond_async)
