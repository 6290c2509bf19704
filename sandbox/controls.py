"""What a test or a demo may ask of a party beside its book: its clock, its statements and what is wrong with them, and
its staff's own doings."""

from __future__ import annotations

import asyncio
from datetime import date
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from sandbox import clock, entries
from sandbox.entries import Entry
from sandbox.statements import REFUNDS, SCRIPT, line_json, spoiled, statement_of
from sandbox.web import Answer, Call, Handler, PartyApp, as_json

STATEMENT = "/sandbox/statement/"


def controls(app: PartyApp) -> tuple[dict[tuple[str, str], Handler], dict[tuple[str, str], Handler]]:
    """(routes, routes by prefix) for one party."""
    own = _Controls(app)
    routes: dict[tuple[str, str], Handler] = {
        ("POST", "/sandbox/clock"): own.set_clock,
        ("POST", "/sandbox/undo"): own.undo,
        ("GET", "/sandbox/statement-faults"): own.injected,
        ("POST", "/sandbox/statement-faults"): own.set_faults,
    }
    return routes, {("GET", STATEMENT): own.statement}


class _Controls:
    def __init__(self, app: PartyApp) -> None:
        self._app = app

    async def set_clock(self, call: Call) -> Answer:
        """{"ahead_s": -86400}: the whole cast lives a day ago."""
        try:
            clock.set_ahead(float(orjson.loads(call.body)["ahead_s"]))
        except (KeyError, TypeError, ValueError):
            return as_json({"error": "ahead_s is a number of seconds"}, 422)
        return as_json({"now": clock.now().isoformat()})

    async def undo(self, call: Call) -> Answer:
        """{"request_id": ...}: the party's own staff undoes what stands, and tells nobody."""
        try:
            request_id = str(orjson.loads(call.body)["request_id"])
        except (KeyError, TypeError, ValueError):
            return as_json({"error": "name a request_id of the book"}, 422)
        original = await asyncio.to_thread(self._app.book.find, request_id)
        if original is None or original.outcome != entries.APPROVED:
            return as_json({"error": "nothing stands under this request"}, 404)
        (written,) = await asyncio.to_thread(self._app.book.record, [_by_hand(original)])
        return as_json({"request_id": written.request_id, "outcome": written.outcome, "reference": original.reference})

    async def set_faults(self, call: Call) -> Answer:
        """A script of StatementFault; an empty one ends them."""
        try:
            self._app.statements.set_faults(SCRIPT.validate_json(call.body))
        except ValidationError as error:
            return as_json({"errors": error.errors(include_url=False, include_input=False)}, 422)
        return await self.injected(call)

    async def injected(self, _: Call) -> Answer:
        """What was wrong with the statements that were asked for."""
        return as_json({"party": self._app.code, "injected": [spoiled(one) for one in self._app.statements.injected()]})

    async def statement(self, call: Call) -> Answer:
        """A day's statement as its sender would upload it; `refunds` says how they are kept."""
        refunds = dict(parse_qsl(call.query.decode())).get("refunds", "rows")
        try:
            day = date.fromisoformat(call.path.removeprefix(STATEMENT))
            lines = await asyncio.to_thread(self._app.statement, day, REFUNDS.validate_python(refunds))
        except ValueError:
            return as_json({"error": "the day is YYYY-MM-DD, refunds are rows, left_out or netted"}, 422)
        statement = statement_of(self._app.code, day, lines)
        told = statement.model_dump(mode="json", exclude={"lines"})
        return as_json(told | {"lines": [line_json(line) for line in statement.lines]})


def _by_hand(original: Entry) -> Entry:
    return Entry(
        request_id=f"{original.request_id}:by-hand",
        operation=entries.CANCEL,
        outcome=entries.CANCELLED,
        amount_fen=original.amount_fen,
        institution=original.institution,
        settlement_no=original.settlement_no,
        original_request_id=original.request_id,
        decided_at=clock.now().isoformat(timespec="seconds"),
        content=f"{original.request_id}|by hand",
    )
