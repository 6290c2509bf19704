"""The hub's own notices, for insurers by REST and by queue: Notice -> JSON, JSON -> Decision."""

from __future__ import annotations

from pydantic import ValidationError

from schemas.base import violations_of
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, OutcomeUnknown
from schemas.payer import ClaimNotice, Decision, Notice, NoticeAnswer, RawAnswer
from schemas.strict_json import check_text
from schemas.transactions import SPECS, Transaction

TOLD = frozenset(name.value for name, spec in SPECS.items() if spec.passed_on) | {Transaction.CANCEL.value}
"""What an insurer of the hub's own language can be told: everything that is passed on, and that a recorded adjudication
was cancelled."""


def encode_notice(notice: Notice) -> bytes:
    """A ClaimNotice as JSON."""
    told = ClaimNotice(
        request_id=notice.request_id,
        transaction=notice.transaction,
        insurer=notice.payer,
        product=notice.product,
        policy_no=notice.policy_no,
        original_request_id=notice.original_request_id,
        original_reference=notice.original_reference,
        message=notice.message.model_dump(mode="json", exclude_none=True),
    )
    return told.model_dump_json(exclude_none=True).encode()


def decode_notice_answer(notice: Notice, answer: RawAnswer) -> Decision:
    """APPROVED when it was taken, DECLINED when it was refused; UNKNOWN for any status but 200.

    Malformed for no JSON, OutcomeUnknown for an answer to another notice, InvalidMessage for one that breaks its
    schema.
    """
    if answer.status not in (0, 200):
        return Decision(Outcome.UNKNOWN, raw_code=f"http.{answer.status}")
    parsed = check_text(answer.body)
    if not isinstance(parsed, dict) or parsed.get("request_id") != notice.request_id:
        raise OutcomeUnknown("not an answer to this notice", party=notice.payer, request_id=notice.request_id)
    try:
        said = NoticeAnswer.model_validate_json(answer.body)
    except ValidationError as error:
        raise InvalidMessage("the answer breaks its schema", *violations_of(error), party=notice.payer) from None
    return Decision(
        Outcome.APPROVED if said.outcome == "taken" else Outcome.DECLINED,
        payer_reference=said.reference,
        reason_code=said.reason_code,
        reason_zh=said.reason_zh,
        reason_en=said.reason_en,
        raw_code=said.outcome,
    )
