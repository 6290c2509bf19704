"""Files of text: CSV as spreadsheets write it, and the national form, separated by TAB with `null` for nothing."""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from hub.imports import zips
from hub.imports.layout import Cell, InvalidFile

FIELD_MAX = 32 * 1024
_SEPARATORS = ",\t;"
_BEYOND_ASCII = bytes(range(128, 256))
_SURELY_UTF_8 = 30
"""So many bytes beyond ASCII are not by chance in the order that UTF-8 has them."""


def encoding_of(path: Path) -> str:
    """UTF-8, with or without mark, or GB18030 (of which GBK is a part); InvalidFile for anything else.

    Text that was UTF-8 for a while is damaged where it stops being it: read as GBK it would give other characters.
    """
    foreign = _decodes(path, "utf-8-sig")
    if foreign is None:
        return "utf-8-sig"
    if foreign >= _SURELY_UTF_8:
        raise InvalidFile("the file is UTF-8 with a damaged place or end; send it again")
    if _decodes(path, "gb18030") is None:
        return "gb18030"
    raise InvalidFile("the file is no text in UTF-8 or GBK; save it as CSV UTF-8")


def _decodes(path: Path, encoding: str) -> int | None:
    """None when all of the file is text of this encoding, or how many bytes beyond ASCII were before it is not."""
    decoder = codecs.getincrementaldecoder(encoding)()
    foreign = 0
    with path.open("rb") as content:
        for chunk in chain(iter(partial(content.read, zips.CHUNK), b""), [b""]):
            if b"\x00" in chunk:
                raise InvalidFile("the file is no text in UTF-8 or GBK; save it as CSV UTF-8")
            try:
                decoder.decode(chunk, not chunk)
            except UnicodeDecodeError as error:
                return foreign + _beyond_ascii(chunk[: error.start])
            foreign += _beyond_ascii(chunk)
    return None


def _beyond_ascii(chunk: bytes) -> int:
    return len(chunk) - len(chunk.translate(None, _BEYOND_ASCII))


class CsvFile:
    """A CSV file, separated by comma, semicolon or TAB. Rows count as a spreadsheet counts them; the heading is 1."""

    dates_from_1904 = False

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self._path = path
        self._columns = columns
        self._encoding = encoding_of(path)
        self.bytes_total = path.stat().st_size
        self.bytes_read = 0

    @contextmanager
    def opened(self) -> Iterator[tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]]:
        """The heads of the columns, and the rows behind them."""
        csv.field_size_limit(FIELD_MAX)
        with self._path.open("rb") as raw, io.TextIOWrapper(raw, self._encoding, newline="") as text:
            first = text.readline(FIELD_MAX)
            text.seek(0)
            separator = max(_SEPARATORS, key=first.count)
            yield _headed(self._records(csv.reader(text, delimiter=separator, strict=True), raw), self._columns)

    def _records(self, reader: Iterator[list[str]], raw: io.BufferedReader) -> Iterator[tuple[int, Sequence[Cell]]]:
        number = 0
        try:
            for number, cells in enumerate(reader, 1):
                if number % 1000 == 0:
                    self.bytes_read = raw.tell()
                yield number, cells
        except csv.Error as error:
            where = f"row {number + 1}"
            if "unexpected end" in str(error):
                raise InvalidFile(f"{where}: a quote is never closed: the file is only half there?") from None
            raise InvalidFile(f"{where}: the quotes or the length of a value are wrong") from None
        self.bytes_read = self.bytes_total


class TabFile:
    """The national form: UTF-8, TAB between values, no quotes, `null` for nothing; alone in a .zip, or plain."""

    dates_from_1904 = False

    def __init__(self, path: Path, columns: Sequence[str] = (), *, zipped: bool) -> None:
        self._path = path
        self._columns = columns
        self._zipped = zipped
        self.bytes_total = path.stat().st_size
        self.bytes_read = 0
        if zipped:
            with zips.opened(path) as archive:
                self.bytes_total = _only_member(archive).file_size

    @contextmanager
    def opened(self) -> Iterator[tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]]:
        """The heads of the columns, and the rows behind them."""
        if not self._zipped:
            with self._path.open("rb") as raw:
                yield _headed(self._records(iter(partial(raw.read, zips.CHUNK), b"")), self._columns)
            return
        with zips.opened(self._path) as archive:
            yield _headed(self._records(zips.chunks(archive, _only_member(archive))), self._columns)

    def _records(self, chunks: Iterator[bytes]) -> Iterator[tuple[int, Sequence[Cell]]]:
        for number, line in enumerate(self._lines(chunks), 1):
            yield number, ["" if cell == "null" else cell for cell in line.rstrip("\r").split("\t")]

    def _lines(self, chunks: Iterator[bytes]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        rest = ""
        try:
            for chunk in chunks:
                self.bytes_read += len(chunk)
                *whole, rest = (rest + decoder.decode(chunk)).split("\n")
                yield from whole
                if len(rest) > FIELD_MAX * 10:
                    raise InvalidFile("a line is longer than any row can be")
            rest += decoder.decode(b"", True)
        except UnicodeDecodeError:
            raise InvalidFile("the file is not UTF-8, or only half there") from None
        if rest:
            yield rest


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise InvalidFile(f"the archive holds {len(members)} files; the national form holds one")
    if not members[0].filename.lower().endswith((".txt", ".tsv")):
        raise InvalidFile("the archive holds something else than a .txt")
    return members[0]


def _headed(
    records: Iterator[tuple[int, Sequence[Cell]]], columns: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, Sequence[Cell]]]]:
    """The first row as heads of the columns, unless these are given."""
    if columns:
        return list(columns), records
    for _, cells in records:
        if any(cell != "" for cell in cells):
            return [str(cell) for cell in cells], records
    raise InvalidFile("the file is empty")
