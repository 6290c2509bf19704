"""A party's message to the desk and its answer back, whatever the channel: canonical JSON in, canonical JSON out."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import AwareDatetime, TypeAdapter

from hub.books import RuleBooks
from hub.failpoints import failpoint
from hub.gateway.batched import BatchedCalls
from hub.gateway.views import CaseView
from hub.gateway.waiters import AnswerWaiters
from hub.inbound import Inbound, Taken
from hub.ports import Clock
from routing.deadline import answer_due
from schemas.codes import CaseStatus
from schemas.errors import HubError, OutcomeUnknown, Unavailable
from schemas.transactions import Transaction
from store.answers import StoredAnswer

IN_TIME_S = 2.5
"""Longer than this nobody waits for the database: a caller is told in less than 3 s to come back."""
GRACE_S = 1.0
"""At the case's deadline the sweep writes the answer; it is worth waiting for."""
_UNDOES = frozenset({Transaction.CANCEL, Transaction.REVERSE})
_PROFILE_S = 15.0
_MOMENT: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a message: a refusal, or an answer (`pending`: how the case stands, the real one is to come).

    Neither for a message that is only taken (`claim.answer`).
    """

    answer: bytes | None = None
    error: HubError | None = None
    case_id: str = ""
    repeated: bool = False
    pending: bool = False


class StoredButUnknown(OutcomeUnknown):
    """The message is stored; how its case stands cannot be read at the moment."""

    def __init__(self, case_id: str) -> None:
        super().__init__("stored, but not readable now", case_id=case_id)


def case_id_of(error: HubError) -> str:
    """The case that an error is about, for the one who asked; empty when it is about none."""
    return str(error.context["case_id"]) if isinstance(error, StoredButUnknown) else ""


class Courier:
    """Brings messages to the desk and waits for what the cases say."""

    def __init__(
        self,
        intake: BatchedCalls[Inbound, Taken],
        waiters: AnswerWaiters,
        views: BatchedCalls[str, CaseView | None],
        books: RuleBooks,
        clock: Clock,
        reply_to: str,
    ) -> None:
        self._intake = intake
        self._waiters = waiters
        self._views = views
        self._books = books
        self._clock = clock
        self._reply_to = reply_to

    async def bring(
        self,
        transaction: Transaction,
        party: str,
        message_id: str,
        body: bytes,
        *,
        correlation_id: str = "",
        wait_s: float | None = None,
    ) -> Brought:
        """Take a canonical message in and wait for its answer: `wait_s`, or until the deadline of the message.

        What is wrong with the message comes back in `error`. Raises Unavailable when nothing is stored and
        OutcomeUnknown when it may be: the same message id again is then harmless.
        """
        inbound = Inbound(
            transaction=transaction,
            party=party,
            message_id=message_id,
            body=body,
            reply_to=self._reply_to,
            received_at=self._clock.now(),
            correlation_id=correlation_id,
        )
        failpoint("request.before_intake")
        taken = await self._intake(inbound, IN_TIME_S)
        failpoint("request.after_intake")
        if taken.error is not None:
            return Brought(error=taken.error, case_id=taken.case_id)
        if taken.answer is not None or not taken.case_id or transaction is Transaction.CLAIM_ANSWER:
            return Brought(taken.answer, case_id=taken.case_id, repeated=taken.repeated)
        brought = await self._waited(inbound, taken.case_id, wait_s)
        failpoint("answer.before_send")
        return brought

    async def _waited(self, inbound: Inbound, case_id: str, wait_s: float | None) -> Brought:
        wanted = _is_cancelled if inbound.transaction in _UNDOES else _any_revision
        try:
            answer = await self._waiters.wait(case_id, wanted, self._wait_s(inbound) if wait_s is None else wait_s)
            if answer is not None:
                return Brought(answer.body, case_id=case_id)
            return Brought(await self._current(case_id), case_id=case_id, pending=True)
        except Unavailable:
            # The message is taken, whatever we can say about it now.
            raise StoredButUnknown(case_id) from None

    async def _current(self, case_id: str) -> bytes:
        view = await self._views(case_id, IN_TIME_S)
        if view is None:
            raise StoredButUnknown(case_id)
        return view.current(self._clock.now())

    def _wait_s(self, inbound: Inbound) -> float:
        """Until the deadline of this message, which is valid by now."""
        institution = self._books.active().book.institution_by_code.get(inbound.party)
        profile_s = institution.deadline_s if institution is not None else _PROFILE_S
        asked_for = None
        if b'"answer_by"' in inbound.body:
            moment = orjson.loads(inbound.body).get("answer_by")
            asked_for = _MOMENT.validate_python(moment) if moment is not None else None
        due = answer_due(inbound.received_at, asked_for, profile_s)
        return max(0.0, (due - self._clock.now()).total_seconds()) + GRACE_S


def _any_revision(_answer: StoredAnswer) -> bool:
    return True


def _is_cancelled(answer: StoredAnswer) -> bool:
    """Whether this answer says that the case is undone. Nothing follows a cancellation, so once true it stays true."""
    return bool(orjson.loads(answer.body)["status"] == CaseStatus.CANCELLED)
