"""GET /api/v1/statements/{day}: what the hub has in its books of the speaker's day, as a file."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from shutil import rmtree

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hub.books import RuleBooks
from hub.gateway.identity import Doorkeeper
from hub.gateway.national.calls import Calls
from hub.recon.outgoing import export
from hub.recon.writers import MEDIA_TYPES, SUFFIXES, Form
from hub.work import WorkUnits
from routing.days import FIRST_DAY, LAST_DAY
from schemas.errors import InvalidMessage, Unavailable, Violation
from schemas.money import yuan_of
from schemas.statement import StatementHeader
from store.database import database_is_away

PATH = "/api/v1/statements/{day}"
WRITTEN_S_MAX = 300.0
AT_ONCE_MAX = 2
_YES = {"true": True, "false": False}


class _SentOnce(FileResponse):
    """A file that is gone with its folder once it was sent, or could not be. It is sent whole: the digest beside it is
    of all of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = [(name, value) for name, value in scope["headers"] if name != b"range"]
        try:
            await super().__call__({**scope, "headers": whole}, receive, send)
        finally:
            rmtree(Path(self.path).parent, ignore_errors=True)


class OwnBooks:
    """The hub's books of a party, for that party alone: a payer its shares, an institution its settlements."""

    def __init__(self, doorkeeper: Doorkeeper, work_units: WorkUnits, books: RuleBooks, calls: Calls) -> None:
        self._doorkeeper = doorkeeper
        self._work_units = work_units
        self._books = books
        self._calls = calls
        self._speaking: set[str] = set()

    def routes(self) -> list[Route]:
        """Where it is served."""
        return [Route(PATH, self.get, methods=["GET"])]

    async def get(self, request: Request) -> Response:
        """The file, with what it declares in its headers; it is written whole before the first byte leaves."""
        headers = request.headers
        speaker = self._doorkeeper.party_of(headers.get("authorization"), headers.get("x-party"))
        day, form, by_payer = _wanted(request)
        scheme = request.query_params.get("scheme", "daily")
        # In a folder of its own: who still writes when nobody waits any more finds no place to leave it.
        path = Path(tempfile.mkdtemp(prefix="books-"), f"books{SUFFIXES[form]}")
        try:
            with self._one_at_a_time(speaker):
                header = await self._written(speaker, day, form, path, scheme, by_payer=by_payer)
        except BaseException:
            rmtree(path.parent, ignore_errors=True)
            raise
        return _SentOnce(
            path,
            media_type=MEDIA_TYPES[form],
            filename=f"{speaker}-{scheme}-{day.isoformat()}{SUFFIXES[form]}",
            headers=_declared(header),
        )

    async def _written(
        self, speaker: str, day: date, form: Form, path: Path, scheme: str, *, by_payer: bool
    ) -> StatementHeader:
        engine, book = self._work_units.engine, self._books.active().book
        write = partial(export, engine, book, speaker, day, form, path, scheme=scheme, by_payer=by_payer)
        try:
            header: StatementHeader = await self._calls(write, WRITTEN_S_MAX)
        except SQLAlchemyError as error:
            if database_is_away(error):
                raise Unavailable("the database is away") from error
            raise
        return header

    @contextmanager
    def _one_at_a_time(self, speaker: str) -> Iterator[None]:
        if speaker in self._speaking or len(self._speaking) >= AT_ONCE_MAX:
            raise Unavailable("another statement is being written")
        self._speaking.add(speaker)
        try:
            yield
        finally:
            self._speaking.discard(speaker)


def _wanted(request: Request) -> tuple[date, Form, bool]:
    """Day, form, and whether by payer; InvalidMessage names the parameter that is wrong."""
    query = request.query_params
    try:
        day = date.fromisoformat(request.path_params["day"])
    except ValueError:
        day = date.min
    if not FIRST_DAY <= day <= LAST_DAY:
        raise InvalidMessage("", Violation("day", "date_parsing", "write the day as 2026-01-31"))
    try:
        form = Form(query.get("form", Form.CSV.value))
    except ValueError:
        raise InvalidMessage("", Violation("form", "enum", f"one of {', '.join(Form)}")) from None
    by_payer = query.get("by_payer", "false")
    if by_payer not in _YES:
        raise InvalidMessage("", Violation("by_payer", "bool_type", "write true or false"))
    return day, form, _YES[by_payer]


def _declared(header: StatementHeader) -> dict[str, str]:
    """In headers what a sidecar file says: a reader can hold the file against it before it reads a line."""
    digest = base64.b64encode(bytes.fromhex(header.sha256 or "")).decode()
    return {
        "Content-Digest": f"sha-256=:{digest}:",
        "Statement-Party": header.party,
        "Statement-Scheme": header.scheme,
        "Statement-Day": header.day.isoformat(),
        "Statement-Count": str(header.count),
        "Statement-Total": yuan_of(header.total),
    }
