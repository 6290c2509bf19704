"""What a page of instructions holds: files by name, and commands in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"(?:^`(?P<file>[\w./-]+)`\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: a file with its name, or commands (`console`)."""

    file: str
    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines that somebody types."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")] if self.kind == "console" else []


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    found = _FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["file"] or "", one["kind"], one["text"]) for one in found]
