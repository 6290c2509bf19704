"""What a system of the China Life type says, as Decisions: inner XML in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.insurer.chinalife.dialect import Dialect
from adapters.insurer.wording import cleaned, fen_in, fen_or_none, is_reference, moment_in
from adapters.string_service import fields_of, head_and_body
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.money import yuan_of
from schemas.payer import Decision, PayerTask

DONE, REFUSED = "1", "0"
_REFUSED_EN = "The insurer's critical-illness system refused the request."
_DEFERRED_EN = "The insurer will decide this claim by hand, outside the instant settlement."
_EXCLUDED_EN = "The insurer does not cover this claim: an exclusion applies."
_NOT_INSTANT = ("", "0")
_EXCLUDED = "1"


@dataclass(frozen=True, slots=True)
class Asked:
    """The head that an answer must repeat."""

    bus_code: str
    group_id: str
    package: str = "1"


def rows_of(text: str, asked: Asked, party: str) -> list[dict[str, str]]:
    """The results of an answer, one as a rule, none never; OutcomeUnknown when it answers something else."""
    head, body = head_and_body(text, party=party)
    said = (head.get("group_id"), head.get("bus_code"), head.get("package_id") or asked.package)
    if said != (asked.group_id, asked.bus_code, asked.package):
        raise OutcomeUnknown("an answer to another request", party=party)
    rows = [fields_of(part, party=party) for part in body if len(part)]
    if not rows:
        rows = [fields_of(body, party=party)]
    if any("status" not in row for row in rows):
        raise Malformed("an answer without a status", code="answer.status", party=party)
    return rows


def plain(rows: Sequence[dict[str, str]], dialect: Dialect) -> Decision:
    """Of a registration, of fees, of persons: taken, refused, or no word."""
    row = next((row for row in rows if row["status"] != DONE), rows[0])
    if row["status"] == DONE or (row["status"] == REFUSED and _said(row, dialect.already_there)):
        return Decision(Outcome.APPROVED, raw_code=_raw(row))
    return _not_done(row)


def settled(task: PayerTask, rows: Sequence[dict[str, str]], settlement_number: str) -> Decision:
    """What became of the compensation with this number; OutcomeUnknown when the answer is about another."""
    row = _only(rows, task.payer)
    if row["status"] != DONE:
        return _not_done(row)
    if row.get("settlement_number") != settlement_number:
        raise OutcomeUnknown("an answer about another settlement", party=task.payer, request_id=task.request_id)
    return _ruling(task, row)


def found(task: PayerTask, rows: Sequence[dict[str, str]], dialect: Dialect) -> Decision:
    """What the query finds under the number that the task asks about."""
    ours = [row for row in rows if row.get("settlement_number") == task.original_request_id and row["status"] == DONE]
    if ours:
        return _ruling(task, _only(ours, task.payer))
    row = rows[0]
    missing = row["status"] == REFUSED and len(rows) == 1 and _said(row, dialect.not_found)
    return Decision(Outcome.NOT_FOUND if missing else Outcome.UNKNOWN, raw_code=_raw(row))


def cancelled(rows: Sequence[dict[str, str]], original_fen: int, party: str) -> Decision:
    """The answer to a cancel has no amount of its own: what was named is taken back whole, or nothing is."""
    row = _only(rows, party)
    if row["status"] != DONE:
        return _not_done(row)
    told = fen_or_none(row, "db_compensation")
    if told not in (None, original_fen):
        raise _contradicts(party, Violation("db_compensation", "cancel.mirror", "must be what the settlement paid"))
    return Decision(Outcome.CANCELLED, amount_fen=original_fen, raw_code=_raw(row))


def recorded(rows: Sequence[dict[str, str]], own_fen: int, settlement_number: str, party: str) -> Decision:
    """The answer to an adjudication that was told for the record: taken with the same amount, or refused."""
    row = _only(rows, party)
    if row["status"] != DONE:
        return _not_done(row)
    if row.get("settlement_number") != settlement_number:
        raise OutcomeUnknown("an answer about another settlement", party=party)
    told = fen_or_none(row, "db_compensation")
    if told not in (None, own_fen):
        remedy = f"record {yuan_of(own_fen)} as it was adjudicated"
        raise _contradicts(party, Violation("db_compensation", "record.amount", remedy))
    return Decision(Outcome.APPROVED, amount_fen=own_fen, payer_reference=_reference(row, party), raw_code=_raw(row))


def _ruling(task: PayerTask, row: dict[str, str]) -> Decision:
    trace = cleaned(row.get("compensate_information", ""))
    if row.get("whether_ignore") == _EXCLUDED:
        if fen_or_none(row, "db_compensation"):
            raise _contradicts(
                task.payer, Violation("db_compensation", "amount.excluded", "pay nothing or exclude not")
            )
        reason = trace or cleaned(row.get("msg", ""))
        return Decision(
            Outcome.DECLINED,
            reason_code="whether_ignore",
            reason_zh=reason,
            reason_en=_EXCLUDED_EN,
            raw_code="whether_ignore.1",
        )
    waits = cleaned(row.get("nonreal_time_reason", ""))
    if waits not in _NOT_INSTANT:
        return Decision(
            Outcome.DEFERRED,
            payer_reference=_reference_or_none(row),
            reason_code="nonreal_time_reason",
            reason_zh=waits,
            reason_en=_DEFERRED_EN,
            raw_code=_raw(row),
        )
    amount_fen = fen_in(row, "db_compensation")
    _check(task, row, amount_fen)
    return Decision(
        Outcome.APPROVED,
        amount_fen=amount_fen,
        payer_reference=_reference(row, task.payer),
        reason_zh=trace,
        decided_at=moment_in(row.get("compensate_date", "")),
        raw_code=_raw(row),
    )


def _check(task: PayerTask, row: dict[str, str], amount_fen: int) -> None:
    total = fen_or_none(row, "total_payment")
    fund = fen_or_none(row, "yb_compensation")
    net = fen_or_none(row, "fit_into_db_amount")
    deducted = fen_or_none(row, "deduction_payment") or 0
    expected = task.basic.fund_fen if task.basic else None
    person = row.get("id_number") or task.request.patient.id_no
    # The compliant fee is net of basic compensation: a gross one does not fit under the total beside it.
    gross = net is not None and fund is not None and net + fund + deducted > task.request.total
    rules = (
        (person == task.request.patient.id_no, "id_number", "identity.person", "answer for the person asked about"),
        (total in (None, task.request.total), "total_payment", "amount.total", "must be the total of the request"),
        (fund in (None, expected), "yb_compensation", "amount.basic", "must be what the basic system paid"),
        (not gross, "fit_into_db_amount", "amount.gross", "total - yb_compensation - deduction_payment at most"),
        (amount_fen <= task.left_fen, "db_compensation", "amount.exceeds_left", "must not exceed what is left"),
    )
    broken = [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds]
    if broken:
        raise _contradicts(task.payer, *broken)


def _reference(row: dict[str, str], party: str) -> str:
    """Contract and case in one, as a cancel needs both; InvalidMessage when what stands has no case number."""
    joined = _reference_or_none(row)
    if joined is None:
        remedy = "give contract and case number, letters, digits, dots and hyphens, 63 characters together"
        raise _contradicts(party, Violation("case_number", "payer_reference.missing", remedy))
    return joined


def _reference_or_none(row: dict[str, str]) -> str | None:
    contract, case = row.get("contract_number", ""), row.get("case_number", "")
    usable = is_reference(case) and (not contract or is_reference(contract)) and len(contract) + len(case) < 64
    return f"{contract}:{case}" if usable else None


def _only(rows: Sequence[dict[str, str]], party: str) -> dict[str, str]:
    if len(rows) != 1:
        raise _contradicts(party, Violation("body", "answer.rows", "send one result for one request"))
    return rows[0]


def _not_done(row: dict[str, str]) -> Decision:
    if row["status"] != REFUSED:
        return Decision(Outcome.UNKNOWN, raw_code=_raw(row))
    message = cleaned(row.get("msg", ""))
    return Decision(
        Outcome.DECLINED, reason_code="refused", reason_zh=message, reason_en=_REFUSED_EN, raw_code=_raw(row)
    )


def _said(row: dict[str, str], words: Sequence[str]) -> bool:
    return any(word in row.get("msg", "") for word in words)


def _raw(row: dict[str, str]) -> str:
    return f"status.{row['status'][:20]}"


def _contradicts(party: str, *broken: Violation) -> InvalidMessage:
    return InvalidMessage("the answer contradicts the request", *broken, code="answer.identity", party=party)
