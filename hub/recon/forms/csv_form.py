"""The canonical form: CSV in UTF-8 with a heading. Its bytes go to the database as they are, however many they are."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.imports.layout import InvalidFile
from hub.imports.source import sha256_of
from hub.recon.forms import Chunks
from hub.recon.forms.headings import columns_of

HEADING_MAX = 4096
CHUNK = 1024**2
ROW_MAX = 64 * 1024
"""No row is nearly as long. The database keeps a row in memory until it ends, and inside quotes it does not."""
_UNCLOSED = 'a quote is opened and not closed: close it, or write "" for a quote inside a value'
_TOO_LONG = "it is longer than any row can be: is this the right file?"
_SEPARATORS = ",\t;"


class CsvForm:
    """A CSV file, separated by comma, semicolon or TAB, with or without a byte order mark."""

    name = "csv"
    first_row = 2

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = ""
        with path.open("rb") as content:
            heading = content.read(HEADING_MAX)
        if not heading:
            raise InvalidFile("the file is empty; a day without settlements is a heading without lines")
        line, found, _ = heading.partition(b"\n")
        if not found and len(heading) == HEADING_MAX:
            raise InvalidFile("the first line is longer than any heading; put the heads of the columns there")
        self._body_from = len(line) + len(found)
        text = _text(line).rstrip("\r")
        self.separator = max(_SEPARATORS, key=text.count)
        self.columns = columns_of(next(csv.reader([text], delimiter=self.separator), []))

    @contextmanager
    def opened(self) -> Iterator[Chunks]:
        """The lines behind the heading."""
        yield Chunks(self._read())

    def sha256(self) -> str:
        """Of the whole file."""
        return self._digest or sha256_of(self._path)

    def _read(self) -> Iterator[bytes]:
        self._digest, digest = "", hashlib.sha256()
        rows = _Rows(self._body_from)
        with self._path.open("rb") as content:
            digest.update(content.read(self._body_from))
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                if rows.follow(chunk) > ROW_MAX:
                    raise self._endless(rows)
                yield chunk
        if rows.quoted:
            raise self._endless(rows)
        self._digest = digest.hexdigest()

    def _endless(self, rows: _Rows) -> InvalidFile:
        """Which row does not end, as the program counts that made the file: it, or one of those behind the last end
        that was looked for."""
        number, left = 1, rows.ended_at
        with self._path.open("rb") as content:
            while left and (chunk := content.read(min(CHUNK, left))):
                number += chunk.count(b"\n")
                left -= len(chunk)
            lines, size, quotes = 0, 0, 0
            while size <= ROW_MAX and (line := content.readline(ROW_MAX + 1)):
                lines, size, quotes = lines + 1, size + len(line), quotes + line.count(b'"')
                if quotes % 2 == 0 and line.endswith(b"\n"):
                    number, lines, size, quotes = number + lines, 0, 0, 0
        return InvalidFile(f"row {number}: {_UNCLOSED if quotes % 2 else _TOO_LONG}")


class _Rows:
    """Where rows end while a file goes by: at the ends of lines that are not inside quotes."""

    def __init__(self, start: int) -> None:
        self.ended_at = start
        """The byte behind the last end of a row."""
        self.quoted = False
        self._seen = start

    def follow(self, chunk: bytes) -> int:
        """Take the next bytes; how many there are behind the last end of a row."""
        quotes = chunk.count(b'"')
        self.quoted ^= quotes % 2 == 1
        end, quoted = len(chunk), self.quoted
        while len(chunk) - end <= ROW_MAX and (line := chunk.rfind(b"\n", 0, end)) >= 0:
            quoted ^= quotes > 0 and chunk.count(b'"', line + 1, end) % 2 == 1
            if not quoted:
                self.ended_at = self._seen + line + 1
                break
            end = line
        self._seen += len(chunk)
        return self._seen - self.ended_at


def _text(line: bytes) -> str:
    """The heading; of what stands below it everything is ASCII, so that nothing depends on the encoding."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidFile("the file is no text in UTF-8; save it as CSV UTF-8")
