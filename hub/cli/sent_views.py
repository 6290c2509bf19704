"""What left for payers, for people and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from hub.sent import Sent
from routing.days import CHINA_STANDARD_TIME


def show(messages: Sequence[Sent], console: Console, *, values: bool) -> None:
    """Each message with its fields, one a line with `values`."""
    for one in messages:
        at = one.at.astimezone(CHINA_STANDARD_TIME)
        head = f"{one.payer}: {one.what}, {at:%Y-%m-%d %H:%M:%S}, attempt {one.attempt}, {one.size} bytes"
        console.print(f"{head}, sha256 {one.digest[:16]}", markup=False, soft_wrap=True)
        for line in _lines(one, values=values):
            console.print(f"  {line}", markup=False, soft_wrap=True)


def as_dict(one: Sent, *, values: bool) -> dict[str, Any]:
    """One message; the whole digest."""
    told: dict[str, Any] = {
        "payer": one.payer,
        "what": one.what,
        "at": one.at.isoformat(),
        "attempt": one.attempt,
        "size": one.size,
        "sha256": one.digest,
        "fields": one.names(),
    }
    return told | ({"values": [[field.path, field.value] for field in one.fields]} if values else {})


def _lines(one: Sent, *, values: bool) -> list[str]:
    if values:
        return [f"{field.path} = {field.value}" for field in one.fields]
    return [path if count == 1 else f"{path}  x{count}" for path, count in one.names().items()] or ["no body"]
