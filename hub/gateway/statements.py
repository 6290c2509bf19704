"""PUT /api/v1/statements/{day}: a statement as a file, streamed to disk and from there into the database."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hub.books import RuleBooks
from hub.gateway.identity import Doorkeeper
from hub.gateway.national.calls import Calls
from hub.gateway.transactions import JSON
from hub.ports import Clock
from hub.recon.statements import take_file
from hub.recon.statements_desk import check_speaker
from hub.work import WorkUnits
from schemas.base import read_message
from schemas.errors import InvalidMessage, Malformed, Unavailable, Violation
from schemas.statement import StatementAnswer, StatementHeader
from store.database import database_is_away

PATH = "/api/v1/statements/{day}"
BYTES_MAX = 1024**3
BODY_S_MAX = 900.0
TAKEN_S_MAX = 900.0
UPLOADS_MAX = 4
"""At once; each has a file on disk as long as it lasts."""
TYPES = {
    "text/csv": ".csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/zip": ".zip",
}
_DIGEST = re.compile(r"sha-256=:?([0-9A-Za-z+/]{43}=):?", re.ASCII | re.IGNORECASE)


class StatementFiles:
    """Statements as files, each party's own, or an institution's by the basic system of its region."""

    def __init__(
        self, doorkeeper: Doorkeeper, work_units: WorkUnits, books: RuleBooks, clock: Clock, calls: Calls
    ) -> None:
        self._doorkeeper = doorkeeper
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._calls = calls
        self._speaking: set[str] = set()

    def routes(self) -> list[Route]:
        """Where it is served."""
        return [Route(PATH, self.put, methods=["PUT"])]

    async def put(self, request: Request) -> Response:
        """200 with the statement's number; a repeat of the same file gives the same answer."""
        headers = request.headers
        speaker = self._doorkeeper.party_of(headers.get("authorization"), headers.get("x-party"))
        header = _header_of(request, speaker)
        check_speaker(self._books.active(), speaker, header.party)
        suffix = _suffix_of(request)
        with self._one_at_a_time(speaker), tempfile.NamedTemporaryFile(suffix=suffix) as file:
            await _receive(request, file)
            answer = await self._take(Path(file.name), header, speaker)
        return Response(answer.model_dump_json(exclude_none=True).encode(), media_type=JSON)

    async def _take(self, path: Path, header: StatementHeader, speaker: str) -> StatementAnswer:
        take = partial(
            take_file,
            self._work_units.engine,
            self._books.active().book,
            path,
            header,
            by=speaker,
            now=self._clock.now(),
            source="HTTP",
        )
        try:
            answer: StatementAnswer = await self._calls(take, TAKEN_S_MAX)
        except SQLAlchemyError as error:
            if database_is_away(error):
                raise Unavailable("the database is away") from error
            raise
        return answer

    @contextmanager
    def _one_at_a_time(self, speaker: str) -> Iterator[None]:
        if speaker in self._speaking or len(self._speaking) >= UPLOADS_MAX:
            raise Unavailable("another statement is being received")
        self._speaking.add(speaker)
        try:
            yield
        finally:
            self._speaking.discard(speaker)


def _header_of(request: Request, speaker: str) -> StatementHeader:
    """What the request says of its file; InvalidMessage names the parameter that is wrong."""
    try:
        date.fromisoformat(request.path_params["day"])
    except ValueError:
        raise InvalidMessage("", Violation("day", "date_parsing", "write the day as 2026-01-31")) from None
    query = request.query_params
    given: dict[str, Any] = {"party": speaker, "day": request.path_params["day"]}
    given |= {name: query[name] for name in ("party", "scheme", "total") if name in query}
    if re.fullmatch("[0-9]{1,8}", query.get("count", ""), re.ASCII):
        given["count"] = int(query["count"])
    if (digest := _digest_of(request)) is not None:
        given["sha256"] = digest
    return read_message(StatementHeader, _json(given))


def _json(value: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(value)


def _digest_of(request: Request) -> str | None:
    """The declared SHA-256, from Content-Digest (RFC 9530) or Digest, hexadecimal; None where there is none."""
    given = request.headers.get("content-digest") or request.headers.get("digest")
    if given is None:
        return None
    for one in given.split(","):
        if found := _DIGEST.fullmatch(one.strip()):
            try:
                return base64.b64decode(found[1], validate=True).hex()
            except binascii.Error:
                break
    raise Malformed("the digest cannot be used", Violation("Content-Digest", "header.invalid", "send sha-256=:BASE64:"))


def _suffix_of(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in TYPES or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Malformed(f"the content type is none of {', '.join(TYPES)}", code="statement.content_type")
    return TYPES[media_type]


async def _receive(request: Request, file: IO[bytes]) -> None:
    """The body, on disk."""
    size = 0
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                size += len(chunk)
                if size > BYTES_MAX:
                    raise Malformed(f"the file is larger than {BYTES_MAX >> 20} MiB", code="message.too_large")
                file.write(chunk)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    file.flush()
