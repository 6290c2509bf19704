"""What a system of the PICC type says, as Decisions: inner XML in, values out. A success is believed as far as its
figures go."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.insurer.wording import cleaned, fen_in, fen_or_none, is_reference
from adapters.string_service import fields_of, head_and_body
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Violation
from schemas.money import signed_fen_of, yuan_of
from schemas.payer import Decision, PayerTask

DONE, REFUSED = "1", "-1"
_REFUSED_EN = "The insurer's system refused the request."
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Package:
    """What was sent in one package of fee lines: how many, worth what (signed fen), numbered after which receipt."""

    number: int
    rows: int
    fen: int
    receipt: str

    @property
    def name(self) -> str:
        """The step's name in a conversation: what the answer is held against."""
        return f"H213/{self.number}/{self.rows}/{self.fen}/{self.receipt}"


_NAME = re.compile(r"H213/([0-9]{1,3})/([0-9]{1,5})/(-?[0-9]{1,13})/([0-9A-F]{20})", re.ASCII)


def package_named(name: str, party: str) -> Package:
    """The package that a step's name describes; Malformed when it is no such name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise Malformed("a call of another kind", code="answer.transcript", party=party)
    return Package(int(found[1]), int(found[2]), int(found[3]), found[4])


def body_of(text: str, code: str, guid: str, party: str) -> dict[str, str]:
    """The fields of an answer; OutcomeUnknown when it answers something else."""
    head, body = head_and_body(text, party=party)
    if (head.get("TransRefGUID"), head.get("TransactionCode")) != (guid, code):
        raise OutcomeUnknown("an answer to another request", party=party)
    fields = fields_of(body, party=party)
    if "SuccessFlag" not in fields:
        raise Malformed("an answer without SuccessFlag", code="answer.status", party=party)
    return fields


def plain(fields: dict[str, str]) -> Decision:
    """Of institutions and persons: taken, refused, or no word."""
    return _not_done(fields) or Decision(Outcome.APPROVED, raw_code=_raw(fields))


def stored(fields: dict[str, str], package: Package, party: str) -> Decision:
    """Of fee lines. Duplicates are answered as success and listed in the text, so success is not "all stored".

    Either every line is new and the amounts add up, or every line is one that we sent before. Anything between is
    InvalidMessage: some of it lies there under another settlement, and nobody knows what was counted.
    """
    if (refused := _not_done(fields)) is not None:
        return refused
    count = fields.get("TotalNoCalculateDetail", "")
    again = duplicates(fields.get("Description", ""), package.receipt)
    expected = 0 if len(again) == package.rows else package.fen
    counted = _signed(fields, "CalculateDetailAmount")
    rules = (
        (count == str(package.rows), "TotalNoCalculateDetail", "fees.count", f"must be {package.rows}: the lines sent"),
        (len(again) in (0, package.rows), "Description", "fees.duplicates", "some lines were stored before, some not"),
        (counted == expected, "CalculateDetailAmount", "fees.amount", f"must be {yuan_of(expected)}"),
    )
    broken = [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds]
    if broken:
        raise InvalidMessage("fee lines that do not add up", *broken, code="answer.fees", party=party)
    return Decision(Outcome.APPROVED, raw_code=_raw(fields))


def duplicates(description: str, receipt: str) -> frozenset[str]:
    """The numbers of our lines that a text lists as stored before: entries between bars, the number last in each."""
    entries = [_SPACE.sub("", entry) for entry in description.split("|") if "," in entry]
    return frozenset(entry.rpartition(",")[2] for entry in entries if entry.rpartition(",")[2].startswith(receipt))


def settled(task: PayerTask, fields: dict[str, str], receipt: str) -> Decision:
    """The insurer's own adjudication: its compensation comes back in the field that went out empty."""
    if (refused := _not_done(fields)) is not None:
        return refused
    amount_fen = fen_in(fields, "BigDiseaseCompenFee")
    total = fen_or_none(fields, "MedicalPaymentTotalAmount")
    rules = (
        (fields.get("ReceiptNum") in (None, "", receipt), "ReceiptNum", "identity.receipt", "repeat our ReceiptNum"),
        (total in (None, task.request.total), "MedicalPaymentTotalAmount", "amount.total", "must be the bill's total"),
        (amount_fen <= task.left_fen, "BigDiseaseCompenFee", "amount.exceeds_left", "must not exceed what is left"),
    )
    _refuse_broken(task.payer, rules)
    return Decision(
        Outcome.APPROVED,
        amount_fen=amount_fen,
        payer_reference=_reference(fields, receipt, task.payer),
        reason_zh=cleaned(fields.get("Formula", "")),
        raw_code=_raw(fields),
    )


def recorded(fields: dict[str, str], own_fen: int, reference: str, party: str) -> Decision:
    """A settlement that was told for the record: taken with the same amount, or refused."""
    if (refused := _not_done(fields)) is not None:
        return refused
    told = fen_or_none(fields, "BigDiseaseCompenFee")
    _refuse_broken(party, ((told in (None, own_fen), "BigDiseaseCompenFee", "record.amount", "record what was sent"),))
    return Decision(Outcome.APPROVED, amount_fen=own_fen, payer_reference=reference, raw_code=_raw(fields))


def cancelled(fields: dict[str, str], original_fen: int, party: str) -> Decision:
    """The answer to a cancel has no amount of its own: the settlement that was named is taken back whole."""
    if (refused := _not_done(fields)) is not None:
        return refused
    told = fen_or_none(fields, "BigDiseaseCompenFee")
    mirrors = told in (None, original_fen)
    _refuse_broken(party, ((mirrors, "BigDiseaseCompenFee", "cancel.mirror", "must be what the settlement paid"),))
    return Decision(Outcome.CANCELLED, amount_fen=original_fen, raw_code=_raw(fields))


def _not_done(fields: dict[str, str]) -> Decision | None:
    flag = fields["SuccessFlag"]
    if flag == DONE:
        return None
    if flag != REFUSED:
        return Decision(Outcome.UNKNOWN, raw_code=_raw(fields))
    reason = cleaned(fields.get("Description", ""))
    return Decision(
        Outcome.DECLINED, reason_code="refused", reason_zh=reason, reason_en=_REFUSED_EN, raw_code=_raw(fields)
    )


def _reference(fields: dict[str, str], receipt: str, party: str) -> str:
    given = fields.get("ReserveField1") or receipt
    _refuse_broken(party, ((is_reference(given), "ReserveField1", "payer_reference", "letters, digits, . _ - only"),))
    return given


def _signed(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    try:
        return signed_fen_of(text)
    except ValueError:
        return None


def _raw(fields: dict[str, str]) -> str:
    return f"SuccessFlag.{fields['SuccessFlag'][:20]}"


def _refuse_broken(party: str, rules: tuple[tuple[bool, str, str, str], ...]) -> None:
    broken = [Violation(field, code, remedy) for holds, field, code, remedy in rules if not holds]
    if broken:
        raise InvalidMessage("the answer contradicts the request", *broken, code="answer.identity", party=party)
