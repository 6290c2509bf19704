"""The forms that a statement comes in as a file: each becomes lines of CSV that the database reads as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from hub.imports.layout import InvalidFile
from schemas.statement import StatementHeader

SIZE_MAX = 2 * 1024**3
SUFFIXES = (".csv", ".xlsx", ".zip", ".txt", ".json")


class Chunks:
    """Bytes as COPY reads them. What went wrong while they were made stays in `failure`: the driver only says that."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: InvalidFile | None = None

    def read(self, _size: int = -1) -> bytes:
        try:
            return next(self._chunks, b"")
        except InvalidFile as error:
            self.failure = error
            raise


class Form(Protocol):
    """A file that is known to be what it says. Line 1 is in row `first_row`, as the program counts that made it."""

    name: str
    columns: tuple[str, ...]
    separator: str
    first_row: int

    def opened(self) -> AbstractContextManager[Chunks]:
        """The lines without a heading, from the beginning each time."""
        ...

    def sha256(self) -> str:
        """Of the file's bytes; cheap once they have been read."""
        ...


def form_of(path: Path, *, institutions: bool, header: StatementHeader | None = None) -> Form:
    """How to read this file; InvalidFile when it is of no form that is taken, or not of the form that it says.

    `institutions`: it is an institution's, whose national form names settlements by the hub's numbers. `header`: what
    was declared, which a form that says so itself must agree with.
    """
    from hub.imports.source import source_of

    size, suffix = path.stat().st_size, path.suffix.lower()
    if size > SIZE_MAX:
        raise InvalidFile(f"the file is larger than {SIZE_MAX // 1024**2} MiB")
    if suffix == ".csv":
        from hub.recon.forms.csv_form import CsvForm

        return CsvForm(path)
    if suffix == ".txt" and not size:
        raise InvalidFile("the file is empty; a day without settlements is a zip with an empty text")
    if suffix == ".xlsx":
        from hub.recon.forms.excel_form import ExcelForm

        return ExcelForm(path)
    if suffix in (".zip", ".txt"):
        from hub.recon.forms.national_form import COLUMNS, NationalForm

        return NationalForm(path, source_of(path, COLUMNS), institutions=institutions)
    if suffix == ".json":
        from hub.recon.forms.json_form import JsonForm

        return JsonForm(path, header)
    raise InvalidFile("send .csv, .xlsx, .json, or the national form as .zip or .txt")
