"""Numbers of things in sentences: "1 break", "2 breaks"."""

from __future__ import annotations


def how_many(count: int, one: str, several: str = "") -> str:
    """`count` with what it counts. `several`: where it is not `one` with an s, such as "breaks are" for "break is"."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"
