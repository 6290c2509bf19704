"""A folder into which parties drop files: `<folder>/<PARTY>/<kind>-anything.csv`.

Who brings a file is whose folder it lies in, never what its name says, so the file system's rights are the parties'
rights. A file is taken when it has not changed for a while, and goes to `done/` or `failed/` beside it, there with the
rows that stood in its way.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hub.imports.job import Importer, Order, Outcome
from hub.imports.layout import InvalidFile
from hub.imports.report import write_report
from hub.master_rows import ROW_KINDS, bringer_of
from routing.rulebook import RuleBook
from schemas.errors import Conflict, Forbidden

_PARTY = re.compile(r"[A-Z][0-9A-Z-]{1,31}")
_KIND = re.compile(r"([a-z]+)[-_.]")
_UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of one dropped file. `why` is empty when it is in force."""

    party: str
    name: str
    outcome: Outcome | None
    why: str = ""


class DropFolder:
    """Looks for files and imports them, one after the other. `still_for_s` is how long a file must have rested."""

    def __init__(
        self, folder: Path, importer: Importer, book: Callable[[], RuleBook], *, still_for_s: float = 5.0
    ) -> None:
        self._folder = folder
        self._importer = importer
        self._book = book
        self._still_for_s = still_for_s

    def look(self) -> Iterator[Handled]:
        """One pass. A file that another import is in the way of stays for the next."""
        for party in sorted(self._folder.iterdir()):
            if not party.is_symlink() and party.is_dir() and _PARTY.fullmatch(party.name):
                for path in sorted(party.iterdir()):
                    if self._is_ready(path) and (handled := self._handle(party, path)) is not None:
                        yield handled

    def _is_ready(self, path: Path) -> bool:
        if path.name.startswith(".") or path.name.endswith(_UNFINISHED):
            return False
        try:
            seen = path.lstat()
        except FileNotFoundError:
            return False
        # A link could lead to what its maker may not read, and the report would show it.
        rested = datetime.now(UTC).timestamp() - seen.st_mtime
        return stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and rested >= self._still_for_s

    def _handle(self, party: Path, path: Path) -> Handled | None:
        found = _KIND.match(path.name)
        row_kind = ROW_KINDS.get(found[1]) if found else None
        if row_kind is None:
            kinds = ", ".join(ROW_KINDS)
            return self._failed(party, path, None, f"its name must begin with the kind and a hyphen: {kinds}")
        try:
            bringer = bringer_of(self._book(), party.name, row_kind.transaction)
            order = Order(path, row_kind, bringer)
            outcome = self._importer.run(order)
        except Conflict:
            return None
        except (InvalidFile, Forbidden) as error:
            return self._failed(party, path, None, str(error))
        if outcome.problem_count:
            handled = self._failed(party, path, outcome, f"{outcome.problem_count} problems")
            moved = party / "failed" / _stamped(path.name, outcome)
            write_report(moved.with_name(f"{moved.name}.errors.csv"), moved, row_kind, outcome.problems)
            return handled
        self._move(path, party / "done" / _stamped(path.name, outcome))
        return Handled(party.name, path.name, outcome)

    def _failed(self, party: Path, path: Path, outcome: Outcome | None, why: str) -> Handled:
        target = party / "failed" / _stamped(path.name, outcome)
        self._move(path, target)
        if outcome is None:
            target.with_name(f"{target.name}.reason.txt").write_text(f"{why}\n", encoding="utf-8")
        return Handled(party.name, path.name, outcome, why)

    def _move(self, path: Path, target: Path) -> None:
        target.parent.mkdir(mode=0o750, exist_ok=True)
        os.replace(path, target)


def _stamped(name: str, outcome: Outcome | None) -> str:
    """Under a name that no earlier file has, with the kind of file still at its end."""
    number = outcome.import_id if outcome is not None else None
    mark = f"import-{number}" if number is not None else datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    path = Path(name)
    return f"{path.stem}.{mark}{path.suffix}"
