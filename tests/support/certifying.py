"""A partner in this process: no socket between it and the run that certifies it, and mutants that break one promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from adapters.insurer.rest.client import InsurerRest
from hub.certify.bills import Bills, terms_of
from hub.certify.control import Sums
from hub.certify.run import Report, certify
from hub.certify.stage import Stage
from routing.rulebook import RuleBook
from sandbox import entries
from sandbox.book import Book
from sandbox.claims_desk import decision_json
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind
from sandbox.insurer_rest import NOT_FOUND, PATH, STATEMENTS, RestInsurer
from sandbox.parties import ANKANG, ANKANG_PRODUCT, DESKS
from sandbox.rules import rule_book
from sandbox.web import CUT, Answer, Call, Reply, as_json
from schemas.errors import OutcomeUnknown
from schemas.money import fen_of, signed_fen_of, yuan_of
from schemas.payer import ClaimCancel, Operation, PreparedCall, RawAnswer
from schemas.transactions import Transaction

TOLD = [Transaction.ADMISSION_REGISTER, Transaction.FEES_UPLOAD, Transaction.ADMISSION_CANCEL]
TOLD += [Transaction.ADJUDICATION_UPLOAD, Transaction.CANCEL]
Partner = RestInsurer
Make = Callable[[], Partner]


def a_book(**changes: Any) -> RuleBook:
    """A rule book with the sandbox's parties, of whom ANKANG wants to be told things."""
    plain = rule_book({ANKANG: "http://127.0.0.1:1"}, [])
    for party in plain["parties"]:
        if party["code"] == ANKANG:
            party |= {"notices": [one.value for one in TOLD], "timeout_s": 5} | changes
    return RuleBook.model_validate(plain)


def certified(make: type[Partner] = RestInsurer, seed: int = 7, **changes: Any) -> Report:
    """A run on this partner."""
    played = Played(make(ANKANG, Book(volatile=True), DESKS[ANKANG]))
    book = a_book(**changes)
    party = book.party_by_code[ANKANG]
    adapter = InsurerRest(party.settings())
    stage = Stage(party, adapter, Bills(terms_of(book, party, ANKANG_PRODUCT), seed), played.say, played)
    try:
        return certify(stage, seed, "in this process")
    finally:
        adapter.close()


class Played:
    """The way to a partner and its side door, by function calls."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner

    def say(self, call: PreparedCall, request_id: str, timeout_s: float) -> RawAnswer:
        path, _, query = call.path.partition("?")
        asked = Call(call.method, path, query.encode(), "", call.body)
        answer = asyncio.run(self.partner._dispatch(asked))
        if not isinstance(answer, Reply):
            raise OutcomeUnknown("cut", code="call.cut")
        return RawAnswer(answer.body, answer.status, answer.content_type)

    def sums(self) -> Sums:
        totals = self.partner.book.totals()
        return Sums(totals.net_fen, totals.net_account_fen)

    def suffer(self, kind: str, operation: str, **more: Any) -> None:
        self.partner.faults.set([Fault(kind=FaultKind(kind), operation=Operation(operation), count=1, **more)])

    def heal(self) -> None:
        self.partner.faults.set([])


class Wrong(RestInsurer):
    """A partner whose answers can be spoiled: each mutant overrides one of these."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        """An answer of its own to a claim; None: as it should be."""
        return None

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        return None

    def tells(self, request_id: str) -> Answer | None:
        return None

    def notes(self, asked: dict[str, Any]) -> Answer | None:
        return None

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """What becomes of the right answer."""
        return answer

    def known(self, request_id: str) -> Entry | None:
        return self.book.find(request_id)

    async def _dispatch(self, call: Call) -> Answer:
        own, asked = self._own(call)
        answer = own or await super()._dispatch(call)
        if not isinstance(answer, Reply) or answer.status != 200 or own is not None:
            return answer
        try:
            right = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return answer
        return replace(answer, body=orjson.dumps(self.answered(asked, right)))

    def _own(self, call: Call) -> tuple[Answer | None, dict[str, Any]]:
        if call.path.startswith(f"{STATEMENTS}/"):
            return None, {"operation": "statement", "request_id": ""}
        if call.method == "GET":
            request_id = call.path.removeprefix(f"{PATH}/")
            return self.tells(request_id), {"operation": "inquire", "request_id": request_id}
        asked = {"operation": "notice"} | orjson.loads(call.body)
        ways = {PATH: self.claims, f"{PATH}/cancel": self.undoes, "/notices": self.notes}
        return ways[call.path](asked), asked


def approved(asked: dict[str, Any], fen: int = 100, reference: str = "AKX") -> Reply:
    """An approval that stands nowhere."""
    return said(asked["request_id"], entries.APPROVED, fen, reference)


def said(request_id: str, outcome: str, fen: int = 0, reference: str = "") -> Reply:
    """A decision in the party's words."""
    moment = "2026-03-02T09:00:00+08:00"
    return Reply(decision_json(Entry(request_id, entries.SETTLE, outcome, fen, reference=reference, decided_at=moment)))


class BooksRepeatsAgain(Wrong):
    """Answers a repeat as it should, and books it once more."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        first = self.known(asked["request_id"])
        if first is not None and asked["operation"] == "settle" and first.outcome == entries.APPROVED:
            self.book.record([replace(first, request_id=f"{first.request_id}:twice")])
        return None


class NewReferenceOnRepeat(Wrong):
    """Gives each repeat a number of its own."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        self.repeated = self.known(asked["request_id"]) is not None
        return None

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        repeated = asked["operation"] == "settle" and self.repeated and answer["outcome"] == entries.APPROVED
        return answer | ({"payer_reference": "AK-ANOTHER"} if repeated else {})


class RefusesRepeats(Wrong):
    """Calls a repeat an error."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return as_json({"error": "exists"}, 409) if self.known(asked["request_id"]) else None


class AcceptsOtherContent(Wrong):
    """Takes other content under a known request id."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        first = self.known(asked["request_id"])
        other = first is not None and asked["total"] not in first.content and str(_fen(asked)) not in first.content
        return approved(asked) if other else None


class IgnoresTombstones(Wrong):
    """Approves what was reversed before it came."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        gone = self.known(asked["request_id"]) is None and self.book.fate(asked["request_id"]) is not None
        return approved(asked) if gone else None


class CancelsAnotherAmount(Wrong):
    """Names a fen less than was settled when it cancels."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        spoiled = asked["operation"] == "cancel" and answer["outcome"] == entries.CANCELLED
        return answer | ({"amount": yuan_of(round(float(answer["amount"]) * 100) - 1)} if spoiled else {})


class CancelsInWordsOnly(Wrong):
    """Confirms a cancel and takes nothing back."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        found = self.known(asked["original_request_id"])
        if asked["operation"] != "cancel" or found is None or yuan_of(found.amount_fen) != asked["amount"]:
            return None
        return said(asked["request_id"], entries.CANCELLED, found.amount_fen, "AKC")


class RefusesTheSecondCancel(Wrong):
    """Does not know its own cancel when it comes again."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        again = asked["operation"] == "cancel" and self.known(asked["request_id"]) is not None
        return said(asked["request_id"], entries.DECLINED) if again else None


class CancelsWhateverAmount(Wrong):
    """Confirms any amount that a cancel names."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        found = self.known(asked["original_request_id"])
        if found is None or asked["operation"] != "cancel" or yuan_of(found.amount_fen) == asked["amount"]:
            return None
        right = ClaimCancel.model_validate(asked | {"amount": yuan_of(found.amount_fen)})
        self.book.record([self.desk.undone(right)])
        return said(asked["request_id"], entries.CANCELLED, _fen(asked, "amount"), "AKC")


class CancelsWhatNeverWas(Wrong):
    """Confirms the cancel of a settlement that it does not know."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        unknown = asked["operation"] == "cancel" and self.known(asked["original_request_id"]) is None
        return said(asked["request_id"], entries.CANCELLED, _fen(asked, "amount"), "AKC") if unknown else None


class ReversesForNothing(Wrong):
    """Takes back what stands and says that there was nothing."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        return answer | ({"amount": "0.00"} if asked["operation"] == "reverse" else {})


class RefusesTheSecondReversal(Wrong):
    """Does not know its own reversal when it comes again."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        again = asked["operation"] == "reverse" and self.known(asked["request_id"]) is not None
        return said(asked["request_id"], entries.DECLINED) if again else None


class RefusesToReverseNothing(Wrong):
    """Reverses only what it knows, and so keeps no tombstone."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        unknown = asked["operation"] == "reverse" and self.known(asked["original_request_id"]) is None
        return said(asked["request_id"], entries.DECLINED) if unknown else None


class InquiryNamesAnotherAmount(Wrong):
    """Tells a fen less than stands."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        spoiled = asked["operation"] == "inquire" and answer["outcome"] == entries.APPROVED
        return answer | ({"amount": yuan_of(round(float(answer["amount"]) * 100) - 1)} if spoiled else {})


class StatesAnotherAmount(Wrong):
    """Its statement holds a fen more for each settlement than it answered, and adds up."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked["operation"] != "statement":
            return answer
        settled = [line for line in answer["lines"] if line["kind"] == "settle"]
        for line in settled:
            line["amount"] = yuan_of(fen_of(line["amount"]) + 1)
        return answer | {"total": yuan_of(signed_fen_of(answer["total"]) + len(settled))}


class HasNoPageForTheUnknown(Wrong):
    """Answers an inquiry about what never came like a page that is missing."""

    def tells(self, request_id: str) -> Answer | None:
        return Reply(b"Not Found", 404, "text/html") if self.book.fate(request_id) is None else None


class InquiryBars(Wrong):
    """Refuses what was inquired about before it came."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.barred: set[str] = set()

    def tells(self, request_id: str) -> Answer | None:
        if self.known(request_id) is None:
            self.barred.add(request_id)
        return None

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return said(asked["request_id"], entries.DECLINED) if asked["request_id"] in self.barred else None


class TrialBooks(Wrong):
    """Books a trial like a settlement."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        if asked["operation"] == "trial":
            moment = "2026-03-02T09:00:00+08:00"
            tried = Entry(asked["request_id"], entries.SETTLE, entries.APPROVED, 100, 100, decided_at=moment)
            self.book.record([tried])
        return None


class TrialPromisesMore(Wrong):
    """Tries with a fen more than it settles."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        spoiled = asked["operation"] == "trial" and answer["outcome"] == entries.APPROVED
        return answer | ({"amount": yuan_of(round(float(answer["amount"]) * 100) + 1)} if spoiled else {})


class SellsEverything(Wrong):
    """Approves products that it does not sell."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return approved(asked) if asked["product"] != ANKANG_PRODUCT else None


class TakesNegativeBills(Wrong):
    """Approves a bill below zero."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return approved(asked) if asked.get("total", "").startswith("-") else None


class TakesBillsWithoutTotal(Wrong):
    """Approves a bill that does not say what it comes to."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return approved(asked) if "total" not in asked else None


class FallsOverBadBills(Wrong):
    """Has an error of its own where it should refuse."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        bad = "total" not in asked or asked["total"].startswith("-")
        return Reply(b"Internal Server Error", 500, "text/plain") if bad else None


class BooksMoreThanItSays(Wrong):
    """Moves a fen more than it answers."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.desk = _GreedyDesk(self.desk.prefix, self.desk.critical_illness, self.desk.commercial)


class _GreedyDesk(type(DESKS[ANKANG])):  # type: ignore[misc]
    def judged(self, task: Any) -> Entry:
        entry: Entry = super().judged(task)
        return replace(entry, effect_fen=entry.effect_fen + (1 if entry.effect_fen else 0))


class DeclinesTrials(Wrong):
    """Has no answer to a trial but no."""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        return said(asked["request_id"], entries.DECLINED) if asked["operation"] == "trial" else None


class ApprovesNothing(Wrong):
    """Approves everything with 0.00."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.desk = _EmptyDesk(self.desk.prefix, self.desk.critical_illness, self.desk.commercial)


class _EmptyDesk(type(DESKS[ANKANG])):  # type: ignore[misc]
    def judged(self, task: Any) -> Entry:
        entry: Entry = super().judged(task)
        return replace(entry, amount_fen=0, effect_fen=0)


class UsesUpWhatWasCancelled(Wrong):
    """Pays a fen less for a bill that it has settled and cancelled before."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.paid: dict[str, str] = {}

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked["operation"] != "settle" or answer["outcome"] != entries.APPROVED:
            return answer
        again = self.paid.setdefault(asked["total"], asked["request_id"]) != asked["request_id"]
        return answer | ({"amount": yuan_of(round(float(answer["amount"]) * 100) - 1)} if again else {})


class HangsAfterABadBill(Wrong):
    """Gives no answer to whatever comes after a bill without its total."""

    bad = False

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        hangs, self.bad = self.bad, "total" not in asked
        return CUT if hangs else None


class ForgetsAfterSilence(Wrong):
    """Calls a request that it did not answer a repeat when it comes again."""

    asked_for = ""

    def claims(self, asked: dict[str, Any]) -> Answer | None:
        again = asked["request_id"] == self.asked_for and self.known(self.asked_for) is None
        self.asked_for = asked["request_id"]
        return as_json({"error": "exists"}, 409) if again else None


class LiesWithinTheBill(Wrong):
    """Answers an amount that is wrong and could be right."""

    def answered(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        lies = asked["operation"] == "settle" and float(answer["amount"]) > 1_000_000
        return answer | ({"amount": "12.00"} if lies else {})


class RefusesRepeatedNotices(Wrong):
    """Does not know a notice that it took."""

    def notes(self, asked: dict[str, Any]) -> Answer | None:
        if self.known(asked["request_id"]) is None:
            return None
        return as_json({"request_id": asked["request_id"], "outcome": "refused", "reason_zh": "重复"})


class NeverUndoes(Wrong):
    """Refuses every undo: what the run settles stays."""

    def undoes(self, asked: dict[str, Any]) -> Answer | None:
        return said(asked["request_id"], entries.DECLINED)


def _fen(asked: dict[str, Any], name: str = "total") -> int:
    return round(float(asked[name]) * 100)


__all__ = ["NOT_FOUND", "Played", "Wrong", "certified"]
