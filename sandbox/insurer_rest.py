"""An insurer with the canonical REST interface.

POST /claims, /claims/cancel and /notices; GET /claims/{request_id} and /statements/{day}.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError

from sandbox import entries
from sandbox.book import Book
from sandbox.claims_desk import NOBODY, Desk, decision_json
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind, Faults
from sandbox.notices import answer_json, noted
from sandbox.signatures import SignatureDesk
from sandbox.statement_pages import page_of
from sandbox.web import Answer, Call, Handler, PartyApp, Reply, as_json
from schemas.money import fen_of
from schemas.payer import ClaimCancel, ClaimNotice, ClaimTask, Operation

PATH = "/claims"
STATEMENTS = "/statements"
PROBLEM = "application/problem+json"
NOT_FOUND = "urn:settlement-hub:problem:claim.not_found"


class InsurerApp(PartyApp):
    """What every insurer offers over HTTP beside its claims: POST /sandbox/review decides a deferral by hand.

    Body: {"request_id": ..., "amount": "12.00"}; "0.00" declines. Answers the decision, 409 when nothing is open.
    """

    def __init__(self, code: str, book: Book, desk: Desk, faults: Faults | None = None) -> None:
        super().__init__(code, book, faults)
        self.desk = desk
        self.routes[("POST", "/sandbox/review")] = self._review

    def review(self, request_id: str, amount_fen: int) -> Entry | None:
        """Decide a deferral; None when there is none open under this id."""
        return self.book.review(self.desk.reviewed(request_id, amount_fen))

    async def _review(self, call: Call) -> Answer:
        try:
            asked = _Review.model_validate_json(call.body)
            amount_fen = fen_of(asked.amount)
        except (ValidationError, ValueError):
            return as_json({"error": "send request_id and amount"}, 422)
        entry = await asyncio.to_thread(self.review, asked.request_id, amount_fen)
        if entry is None:
            return as_json({"error": "no open deferral under this id"}, 409)
        return Reply(decision_json(entry))


class _Review(BaseModel):
    request_id: str
    amount: str


class RestInsurer(InsurerApp):
    """An insurer that answers claims over REST. A repeat gets the first answer; a trial leaves no trace.

    With `signatures` it takes signed requests only.
    """

    def __init__(
        self,
        code: str,
        book: Book,
        desk: Desk,
        faults: Faults | None = None,
        signatures: SignatureDesk | None = None,
    ) -> None:
        super().__init__(code, book, desk, faults)
        guarding = signatures.guarding if signatures else _open
        self.routes[("POST", PATH)] = guarding(self._claim)
        self.routes[("POST", f"{PATH}/cancel")] = guarding(self._cancel)
        self.routes[("POST", "/notices")] = guarding(self._notice)
        self.prefixes[("GET", f"{PATH}/")] = guarding(self._inquiry)
        self.prefixes[("GET", f"{STATEMENTS}/")] = guarding(self._statement)

    async def _claim(self, call: Call) -> Answer:
        try:
            task = ClaimTask.model_validate_json(call.body)
        except ValidationError as error:
            return _refusal(error)

        async def work(trouble: Fault | None) -> Answer:
            entry = self.desk.judged(task)
            if task.operation is Operation.SETTLE:
                entry = await self.book.recorded(entry)
            return _told(entry, trouble)

        return await self.misbehaving(task.request_id, task.operation.value, work)

    async def _cancel(self, call: Call) -> Answer:
        try:
            cancel = ClaimCancel.model_validate_json(call.body)
        except ValidationError as error:
            return _refusal(error)

        async def work(trouble: Fault | None) -> Answer:
            if trouble is not None and trouble.kind is FaultKind.REFUSE_UNDO:
                return _told(self.desk.will_not_undo(cancel), trouble)
            return _told(await self.book.recorded(self.desk.undone(cancel)), trouble)

        return await self.misbehaving(cancel.request_id, cancel.operation.value, work)

    async def _notice(self, call: Call) -> Answer:
        try:
            notice = ClaimNotice.model_validate_json(call.body)
        except ValidationError as error:
            return _refusal(error)

        async def work(trouble: Fault | None) -> Answer:
            entry = await self.book.recorded(noted(self.code, self.desk, notice))
            return Reply(answer_json(entry, notice.request_id, trouble))

        return await self.misbehaving(notice.request_id, notice.transaction, work)

    async def _inquiry(self, call: Call) -> Answer:
        request_id = call.path.removeprefix(f"{PATH}/")

        async def work(trouble: Fault | None) -> Answer:
            entry = await asyncio.to_thread(self.book.fate, request_id)
            if entry is None or (trouble is not None and trouble.kind is FaultKind.NOT_FOUND_FIRST):
                return _not_found(request_id, trouble)
            return Reply(decision_json(entry, trouble))

        # A key of its own, so that inquiries do not change how the repeats of the request itself fare.
        return await self.misbehaving(f"{request_id}?", Operation.INQUIRE.value, work)

    async def _statement(self, call: Call) -> Answer:
        try:
            day = date.fromisoformat(call.path.removeprefix(f"{STATEMENTS}/"))
            number = int(dict(parse_qsl(call.query.decode())).get("page", "1"))
        except ValueError:
            return as_json({"error": "a day and the number of a page"}, 422)

        async def work(trouble: Fault | None) -> Answer:
            page = await page_of(self.statement, day, number, self.statement_rows_max)
            if page is None:
                return as_json({"error": "there are fewer pages"}, 404)
            kind = trouble.kind if trouble else None
            told = replace(page, day=day + timedelta(days=1)) if kind is FaultKind.GARBAGE else page
            return Reply(told.as_json(off_by_fen=100 if kind is FaultKind.WRONG_TOTAL else 0))

        return await self.misbehaving(f"statement/{day}/{number}", "statement", work)


def _open(handler: Handler) -> Handler:
    return handler


def _told(entry: Entry, trouble: Fault | None) -> Answer:
    if entry.reason_code == entries.REUSED:
        return as_json({"error": entries.REUSED}, 409)
    return Reply(decision_json(entry, trouble))


def _not_found(request_id: str, trouble: Fault | None) -> Reply:
    foreign = trouble is not None and trouble.kind is FaultKind.GARBAGE
    problem = {
        "type": NOT_FOUND,
        "title": "No such claim",
        "status": 404,
        "request_id": NOBODY if foreign else request_id,
        "code": "not_found",
        "detail": "no claim has come under this request id",
        "detail_zh": "未收到该请求",
    }
    return Reply(orjson.dumps(problem), 404, PROBLEM)


def _refusal(error: ValidationError) -> Reply:
    return as_json({"errors": error.errors(include_url=False, include_input=False, include_context=False)}, 422)
