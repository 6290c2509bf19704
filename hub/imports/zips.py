"""What an archive may be: no bombs, no paths that lead elsewhere, nothing encrypted. Used for .zip and .xlsx alike."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hub.imports.layout import InvalidFile

MEMBERS_MAX = 1000
SIZE_MAX = 2 * 1024**3
RATIO_MAX = 200
"""Tables of text shrink to a tenth, now and then to a fiftieth; bombs to a thousandth."""
RATIO_FROM = 10 * 1024**2
"""Smaller ones may shrink as they like."""
CHUNK = 1024**2
_DAMAGED = "the archive is damaged or only half there; send it again"


@contextmanager
def opened(path: Path, *, size_max: int = SIZE_MAX) -> Iterator[zipfile.ZipFile]:
    """The archive, looked at before anything in it is unpacked; InvalidFile says what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            _look_at(archive.infolist(), size_max)
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError):
        raise InvalidFile(_DAMAGED) from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # it names a place before its own beginning
            raise InvalidFile(_DAMAGED) from None
        raise


def _look_at(members: list[zipfile.ZipInfo], size_max: int) -> None:
    if len(members) > MEMBERS_MAX:
        raise InvalidFile(f"the archive holds more than {MEMBERS_MAX} files")
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise InvalidFile("the archive holds a path that leads out of it")
        if member.flag_bits & 1:
            raise InvalidFile("the archive is encrypted; send it without a password")
        if member.file_size > RATIO_FROM and member.file_size > RATIO_MAX * max(member.compress_size, 1):
            raise InvalidFile("the archive unpacks to far more than it is; send the table itself")
    if sum(member.file_size for member in members) > size_max:
        raise InvalidFile(f"the archive unpacks to more than {size_max // 1024**2} MiB; send it in parts")


def chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of one member, never more than it declares."""
    read = 0
    with archive.open(member) as content:
        while chunk := content.read(CHUNK):
            read += len(chunk)
            if read > member.file_size:
                raise InvalidFile("the archive unpacks to more than it declares")
            yield chunk
