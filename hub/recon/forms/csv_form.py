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
"""No line is nearly as long."""
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
        with self._path.open("rb") as content:
            digest.update(content.read(self._body_from))
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                if len(chunk) == CHUNK and b"\n" not in chunk:
                    raise InvalidFile("a line is longer than any row can be")
                yield chunk
        self._digest = digest.hexdigest()


def _text(line: bytes) -> str:
    """The heading; of what stands below it everything is ASCII, so that nothing depends on the encoding."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidFile("the file is no text in UTF-8; save it as CSV UTF-8")
