"""POST /api/v1/transactions/{name}: a party's message in, the answer out, waiting as long as the caller wants to."""

from __future__ import annotations

import orjson
from pydantic import AwareDatetime, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from hub.books import RuleBooks
from hub.failpoints import failpoint
from hub.gateway.batched import BatchedCalls
from hub.gateway.identity import Doorkeeper
from hub.gateway.prefer import Preference, read_prefer
from hub.gateway.problems import problem_response
from hub.gateway.reading import check_content_type, idempotency_key, read_body
from hub.gateway.views import CaseView
from hub.gateway.waiters import AnswerWaiters
from hub.inbound import Inbound, Taken
from hub.ports import Clock
from hub.routes import new_id
from routing.deadline import answer_due
from schemas.codes import CaseStatus
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown, Unavailable
from schemas.transactions import Transaction
from store.answers import StoredAnswer

IN_TIME_S = 2.5
"""Longer than this nobody waits for the database: a caller is told in less than 3 s to come back."""
GRACE_S = 1.0
"""At the case's deadline the sweep writes the answer; it is worth waiting for."""
JSON = "application/json"
MESSAGE_ID = "hub.message_id"
"""Where the log of a failed request finds which message it was."""
_NEEDS_KEY = frozenset({Transaction.SETTLE, Transaction.TRIAL, Transaction.CANCEL, Transaction.REVERSE})
_UNDOES = frozenset({Transaction.CANCEL, Transaction.REVERSE})
_TRANSACTIONS = {each.value: each for each in Transaction}
_PROFILE_S = 15.0
_ACCEPTED = b'{"accepted":true}'
_MOMENT: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)


class Transactions:
    """The endpoint of all canonical transactions."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        intake: BatchedCalls[Inbound, Taken],
        waiters: AnswerWaiters,
        views: BatchedCalls[str, CaseView | None],
        books: RuleBooks,
        clock: Clock,
        reply_to: str,
    ) -> None:
        self._doorkeeper = doorkeeper
        self._intake = intake
        self._waiters = waiters
        self._views = views
        self._books = books
        self._clock = clock
        self._reply_to = reply_to

    async def post(self, request: Request) -> Response:
        """200 with the answer, 202 while there is none, or a refusal."""
        headers = request.headers
        party = self._doorkeeper.party_of(headers.get("authorization"), headers.get("x-party"))
        transaction = _TRANSACTIONS.get(request.path_params["name"])
        if transaction is None:
            raise InvalidMessage("no such transaction", code="transaction.unknown")
        check_content_type(request)
        key = idempotency_key(request, required=transaction in _NEEDS_KEY)
        inbound = Inbound(
            transaction=transaction,
            party=party,
            message_id=key or new_id(),
            body=await read_body(request),
            reply_to=self._reply_to,
            received_at=self._clock.now(),
            correlation_id=key,
        )
        request.scope[MESSAGE_ID] = inbound.message_id
        failpoint("request.before_intake")
        taken = await self._intake(inbound, IN_TIME_S)
        failpoint("request.after_intake")
        if taken.error is not None:
            return problem_response(taken.error, case_id=taken.case_id)
        if transaction is Transaction.CLAIM_ANSWER:
            return Response(_ACCEPTED, 202, media_type=JSON)
        answer = await self._answer(inbound, taken, read_prefer(headers.getlist("prefer")))
        failpoint("answer.before_send")
        return answer

    async def _answer(self, inbound: Inbound, taken: Taken, preference: Preference) -> Response:
        headers = {"Preference-Applied": preference.applied} if preference.applied else {}
        if taken.answer is not None:
            if taken.repeated and inbound.transaction is not Transaction.QUERY:
                headers["Idempotent-Replayed"] = "true"
            return Response(taken.answer, 200, headers, JSON)
        wanted = _is_cancelled if inbound.transaction in _UNDOES else _any_revision
        try:
            answer = await self._waiters.wait(taken.case_id, wanted, self._wait_s(inbound, preference))
            if answer is not None:
                return Response(answer.body, 200, headers, JSON)
            headers["Location"] = f"/api/v1/cases/{taken.case_id}"
            return Response(await self._current(taken.case_id), 202, headers, JSON)
        except Unavailable:
            # The message is taken, whatever we can say about it now.
            raise _StoredButUnknown(taken.case_id) from None

    async def _current(self, case_id: str) -> bytes:
        view = await self._views(case_id, IN_TIME_S)
        if view is None:
            raise _StoredButUnknown(case_id)
        return view.current(self._clock.now())

    def _wait_s(self, inbound: Inbound, preference: Preference) -> float:
        """As long as the caller prefers; else until the deadline of this message, which is valid by now."""
        if preference.wait_s_or_none is not None:
            return preference.wait_s_or_none
        institution = self._books.active().book.institution_by_code.get(inbound.party)
        profile_s = institution.deadline_s if institution is not None else _PROFILE_S
        asked_for = None
        if b'"answer_by"' in inbound.body:
            moment = orjson.loads(inbound.body).get("answer_by")
            asked_for = _MOMENT.validate_python(moment) if moment is not None else None
        due = answer_due(inbound.received_at, asked_for, profile_s)
        return max(0.0, (due - self._clock.now()).total_seconds()) + GRACE_S


class _StoredButUnknown(OutcomeUnknown):
    """The message is stored; how its case stands cannot be read at the moment."""

    def __init__(self, case_id: str) -> None:
        super().__init__("stored, but not readable now", case_id=case_id)


def case_id_of(error: HubError) -> str:
    """The case that an error is about, for the one who asked; empty when it is about none."""
    return str(error.context["case_id"]) if isinstance(error, _StoredButUnknown) else ""


def _any_revision(_answer: StoredAnswer) -> bool:
    return True


def _is_cancelled(answer: StoredAnswer) -> bool:
    """Whether this answer says that the case is undone. Nothing follows a cancellation, so once true it stays true."""
    return bool(orjson.loads(answer.body)["status"] == CaseStatus.CANCELLED)
