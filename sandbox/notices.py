"""What an insurer writes down when it is told something outside a settlement, and what it answers."""

from __future__ import annotations

import orjson

from sandbox import clock, entries
from sandbox.claims_desk import NOBODY, Desk
from sandbox.entries import Entry
from sandbox.faults import Fault, FaultKind
from schemas.money import fen_of
from schemas.payer import ClaimCancel, ClaimNotice, Operation

NOTED = "noted"
UPLOAD = "adjudication.upload"
CANCELLATION = "settlement.cancel"


def noted(code: str, desk: Desk, notice: ClaimNotice) -> Entry:
    """The entry for a notice: an adjudication made elsewhere counts as settled, its cancellation as undone, the rest is
    written down."""
    message = notice.message
    if notice.transaction == CANCELLATION and notice.original_request_id is not None:
        cancel = ClaimCancel(
            operation=Operation.REVERSE,
            request_id=notice.request_id,
            case_id=notice.request_id,
            insurer=code,
            institution=str(message.get("institution", "")),
            settlement_no=str(message.get("settlement_no", "")),
            original_request_id=notice.original_request_id,
            amount=0,
        )
        return desk.undone(cancel)
    paid = _paid(code, message) if notice.transaction == UPLOAD else 0
    return Entry(
        request_id=notice.request_id,
        # As a settlement, so that its cancellation finds what it takes back.
        operation=entries.SETTLE if notice.transaction == UPLOAD else notice.transaction,
        outcome=entries.APPROVED if notice.transaction == UPLOAD else NOTED,
        amount_fen=paid,
        effect_fen=paid,
        institution=str(message.get("institution", "")),
        settlement_no=str(message.get("settlement_no", message.get("visit_no", ""))),
        reference=f"{desk.prefix}N{notice.request_id[-12:].upper()}",
        decided_at=clock.now().isoformat(timespec="seconds"),
        content=f"{notice.transaction}|{notice.original_request_id or ''}",
    )


def _paid(code: str, message: dict[str, object]) -> int:
    shares = message.get("adjudicated")
    listed = shares if isinstance(shares, list) else []
    return sum(fen_of(str(share["amount"])) for share in listed if share.get("payer") == code)


def answer_json(entry: Entry, request_id: str, trouble: Fault | None = None) -> bytes:
    """An entry as NoticeAnswer JSON; with garbage on as if to another notice."""
    foreign = trouble is not None and trouble.kind is FaultKind.GARBAGE
    return orjson.dumps(
        {
            "schema_version": "1",
            "request_id": NOBODY if foreign else request_id,
            "outcome": "refused" if entry.outcome == entries.DECLINED else "taken",
            "reference": entry.reference or None,
            "reason_code": entry.reason_code,
            "reason_zh": entry.reason_zh,
            "reason_en": entry.reason_en,
        }
    )
