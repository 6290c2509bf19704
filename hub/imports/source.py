"""Which kind of file it is, by its first bytes and its name: where the two disagree it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from hub.imports import zips
from hub.imports.layout import Cell, InvalidFile

Opened = AbstractContextManager[tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]]
SIZE_MAX = 2 * 1024**3
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_REMEDIES = {
    ".xlsm": "a workbook with macros; save it as .xlsx",
    ".xlsb": "a binary workbook; save it as .xlsx",
    ".xls": "a workbook of the old form; save it as .xlsx",
    ".et": "a workbook of another program; save it as .xlsx",
    ".ods": "a workbook of another program; save it as .xlsx",
}


class Source(Protocol):
    """A file that is known to be what it says. `bytes_read` moves while the rows are read."""

    bytes_total: int
    bytes_read: int
    dates_from_1904: bool

    def opened(self) -> Opened: ...


def source_of(path: Path, columns: Sequence[str] = (), sheet: str = "") -> Source:
    """How to read this file; InvalidFile when it is of no kind that is read, or not of the kind that it says."""
    if path.stat().st_size > SIZE_MAX:
        raise InvalidFile(f"the file is larger than {SIZE_MAX // 1024**2} MiB; send it in parts")
    with path.open("rb") as content:
        start = content.read(8)
    suffix = path.suffix.lower()
    if suffix in _REMEDIES or start == _OLE:
        raise InvalidFile(f"this is {_REMEDIES.get(suffix, _REMEDIES['.xls'])}")
    if not start:
        raise InvalidFile("the file is empty")
    archive = start.startswith(_ZIP)
    if archive != (suffix in (".xlsx", ".zip")):
        raise InvalidFile(f"the file is not what its name {suffix or 'without ending'} says; name it as what it is")
    if suffix == ".xlsx":
        # Here, because everything else does without its library.
        from hub.imports.excel import ExcelFile

        return ExcelFile(path, columns, sheet=sheet)
    return _text_source(path, columns, suffix)


def _text_source(path: Path, columns: Sequence[str], suffix: str) -> Source:
    from hub.imports.tables import CsvFile, TabFile

    if suffix == ".csv":
        return CsvFile(path, columns)
    if suffix in (".txt", ".tsv", ".zip"):
        return TabFile(path, columns, zipped=suffix == ".zip")
    raise InvalidFile("send .csv, .xlsx, or the national form as .txt or .zip")


def sha256_of(path: Path) -> str:
    """What tells one file from another, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(zips.CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
