"""A folder of messages in bulk: canonical messages in files in, one answer per message in a file out.

    inbox/adjudication.upload-2026-11-22.jsonl         one message a line; the name begins with the transaction
    outbox/adjudication.upload-2026-11-22.answer.jsonl  one answer a line, each with the number of its message's line
    done/, failed/                                      the files that are worked off

A line is a message of its own: refused, it stops no other. Its content makes its id, so a line or a file that comes
twice is a repeat and gets the answer of the first. A file is read when it has its name and has rested; answers appear
whole. A crash leaves the file where it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson
import structlog
from sqlalchemy import Engine

from adapters.hospital.codec import write_answer
from adapters.hospital.problems import error_answer
from hub.books import RuleBooks
from hub.gateway.intake import SureIntake
from hub.inbound import Inbound, Taken
from hub.ports import Clock
from hub.staging import Doors
from hub.staging_rows import refusal_zh
from schemas.errors import Forbidden, HubError, Malformed, OutcomeUnknown, Unavailable
from schemas.strict_json import BODY_MAX_BYTES
from schemas.transactions import SPECS, Channel, Transaction
from store import answers

log = structlog.get_logger()

BATCH_MAX = 100
BATCH_BYTES_MAX = 8 * BODY_MAX_BYTES
BY_FILE = {name.value: name for name, spec in SPECS.items() if Channel.FILE in spec.channels}
_NAME = re.compile(r"([a-z]+\.[a-z]+)(?:[-_].*)?\.(jsonl|json)")
_UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a file; `number` counts from 1. `content` is None where it is too large to be one."""

    number: int
    content: bytes | None


@dataclass(frozen=True, slots=True)
class FileDone:
    """What became of a file: its messages by outcome. `why` says why it could not be read at all."""

    name: str
    answered: int = 0
    taken: int = 0
    refused: int = 0
    why: str = ""


class MessageFolder:
    """The folder of one party. `still_for_s` is how long a file must have rested."""

    def __init__(
        self,
        folder: Path,
        party: str,
        engine: Engine,
        take: Callable[[Sequence[Inbound]], list[Taken]],
        clock: Clock,
        books: RuleBooks,
        doors: Doors,
        *,
        still_for_s: float = 5.0,
    ) -> None:
        self._folder = folder
        self._party = party
        self._engine = engine
        self._take = SureIntake(take)
        self._clock = clock
        self._books = books
        self._doors = doors
        self._still_for_s = still_for_s

    def look(self) -> Iterator[FileDone]:
        """One pass over the inbox. Forbidden: the party may not come in, or not by files. Unavailable: nothing can be
        stored now; the file that was being read stays, and is a repeat when it is read again."""
        self._check()
        for name in ("inbox", "outbox", "done", "failed"):
            (self._folder / name).mkdir(mode=0o750, exist_ok=True)
        for path in sorted((self._folder / "inbox").iterdir()):
            # Another look at the same folder may have been faster; what both have taken was a repeat for one of them.
            with contextlib.suppress(FileNotFoundError):
                if self._is_ready(path):
                    yield self._handle(path)

    def _check(self) -> None:
        """Before each batch: who is shut out while a long file is read is heard no further."""
        self._doors()
        if self._doors.is_shut(self._party):
            raise Forbidden("the party is disabled", code="party.shut_out", party=self._party)
        if self._books.refresh().book.link_of(self._party) != "files":
            raise Forbidden("the rule book in force does not say link: files for it", party=self._party)

    def _is_ready(self, path: Path) -> bool:
        if path.name.startswith(".") or path.name.endswith(_UNFINISHED):
            return False
        seen = path.lstat()
        # A link could lead to what its maker may not read, and the answers would show it.
        rested = datetime.now(UTC).timestamp() - seen.st_mtime
        return stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and rested >= self._still_for_s

    def _handle(self, path: Path) -> FileDone:
        found = _NAME.fullmatch(path.name)
        transaction = BY_FILE.get(found[1]) if found else None
        if found is None or transaction is None:
            known = ", ".join(sorted(BY_FILE))
            why = f"its name must be TRANSACTION-anything.jsonl, the transaction one of {known}"
            self._move(path, "failed")
            return FileDone(path.name, why=why)
        done = self._answer_file(path, transaction, whole=found[2] == "json")
        self._move(path, "done")
        return done

    def _answer_file(self, path: Path, transaction: Transaction, *, whole: bool) -> FileDone:
        """Take every message of the file and put the answers into the outbox, all at once."""
        counts = {"answered": 0, "taken": 0, "refused": 0}
        outbox = self._folder / "outbox"
        number, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=outbox)
        try:
            with os.fdopen(number, "wb") as target, _opened(path) as source:
                for batch in _batches(_whole(source) if whole else _lines(source)):
                    self._check()
                    for said in self._take_batch(transaction, batch):
                        counts[said["state"]] += 1
                        target.write(orjson.dumps(said) + b"\n")
                target.flush()
                os.fchmod(target.fileno(), 0o640)
                os.fsync(target.fileno())
            os.replace(name, outbox / f"{path.stem}.answer.jsonl")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return FileDone(path.name, counts["answered"], counts["taken"], counts["refused"])

    def _take_batch(self, transaction: Transaction, batch: Sequence[Line]) -> list[dict[str, Any]]:
        """One answer per line, in order."""
        now = self._clock.now()
        read = [(line, self._message(transaction, line.content, now)) for line in batch if line.content is not None]
        results = dict(zip((line.number for line, _ in read), self._take([one for _, one in read]), strict=True))
        pending = [one.case_id for one in results.values() if isinstance(one, Taken) and one.case_id and not one.answer]
        with self._engine.connect() as connection:
            given = answers.latest(connection, pending)
        bodies = {case_id: one.body for case_id, one in given.items()}
        return [_said(line.number, results.get(line.number), bodies) for line in batch]

    def _message(self, transaction: Transaction, content: bytes, now: datetime) -> Inbound:
        digest = hashlib.sha256(transaction.value.encode() + b"\n" + content).hexdigest()
        return Inbound(transaction, self._party, f"file:{digest[:48]}", content, reply_to="", received_at=now)

    def _move(self, path: Path, where: str) -> None:
        os.replace(path, self._folder / where / path.name)


def _said(number: int, result: Taken | Exception | None, bodies: dict[str, bytes]) -> dict[str, Any]:
    """What became of a line. Raises what means that nothing can be known now: the file stays."""
    error = result.error if isinstance(result, Taken) else result
    if isinstance(error, Unavailable | OutcomeUnknown):
        raise Unavailable("nothing can be stored now: the file stays") from error
    if result is None:
        error = Malformed("larger than a message may be", code="message.too_large")
    elif error is not None and not isinstance(error, HubError):
        log.error("line_failed", line=number, exc_info=error)
        error = HubError()
    if isinstance(error, HubError):
        case_id = result.case_id if isinstance(result, Taken) else ""
        refusal = error_answer(error, case_id=case_id or None)
        return {
            "line": number,
            "state": "refused",
            "error_code": refusal.error,
            "error_text_zh": refusal_zh(refusal),
            "answer": orjson.Fragment(write_answer(refusal)),
        }
    assert isinstance(result, Taken)
    body = result.answer or bodies.get(result.case_id)
    if body is None:
        return {"line": number, "state": "taken", "case_id": result.case_id}
    return {"line": number, "state": "answered", "repeated": result.repeated, "answer": orjson.Fragment(body)}


def _opened(path: Path) -> IO[bytes]:
    """The file itself, never what a link leads to."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _lines(source: IO[bytes]) -> Iterator[Line]:
    """The lines that hold something, numbered as they stand in the file."""
    number = 0
    while raw := source.readline(BODY_MAX_BYTES + 2):
        number += 1
        whole = raw.endswith(b"\n") or len(raw) <= BODY_MAX_BYTES
        while not whole and (rest := source.readline(BODY_MAX_BYTES)):
            whole = rest.endswith(b"\n")
            raw = b""
        content = (raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw).strip()
        if content or not raw:
            yield Line(number, content or None)


def _whole(source: IO[bytes]) -> Iterator[Line]:
    """The file as one message."""
    raw = source.read(BODY_MAX_BYTES + len(_BYTE_ORDER_MARK) + 1)
    content = raw.removeprefix(_BYTE_ORDER_MARK).strip()
    yield Line(1, content if len(content) <= BODY_MAX_BYTES else None)


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line.content or b"")
        if len(batch) >= BATCH_MAX or size >= BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
