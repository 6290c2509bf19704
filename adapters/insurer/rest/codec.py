"""What a REST insurer's HTTP answer means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from adapters.insurer.canonical_codec import CONTENT_TYPE, decode_decision
from schemas.base import Identifier, read_message
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed
from schemas.payer import Decision, PayerTask, RawAnswer

PROBLEM_TYPE = "application/problem+json"
REFUSED = "urn:settlement-hub:problem:claim.refused"


class ClaimProblem(BaseModel):
    """The only problem document that is an answer: the insurer read the message, did nothing and says so."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["urn:settlement-hub:problem:claim.refused"]
    request_id: Identifier
    code: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    detail: Annotated[str, StringConstraints(max_length=1000)] = ""
    detail_zh: Annotated[str, StringConstraints(max_length=1000)] = ""


def decode_answer(task: PayerTask, answer: RawAnswer) -> Decision:
    """200 with a ClaimDecision is an answer, 4xx with a ClaimProblem for this request a no; UNKNOWN is the rest."""
    media_type = answer.content_type.partition(";")[0].strip().lower()
    if answer.status == 200:
        if media_type != CONTENT_TYPE:
            raise Malformed("an answer that is not JSON", code="answer.content_type", party=task.payer)
        return decode_decision(task, answer.body)
    if 400 <= answer.status < 500 and media_type == PROBLEM_TYPE:
        return _of_problem(task, answer)
    return _unknown(answer)


def _of_problem(task: PayerTask, answer: RawAnswer) -> Decision:
    try:
        problem = read_message(ClaimProblem, answer.body)
    except InvalidMessage:
        return _unknown(answer)
    if problem.request_id != task.request_id:
        return _unknown(answer)
    return Decision(
        Outcome.DECLINED,
        reason_code=problem.code,
        reason_zh=problem.detail_zh,
        reason_en=problem.detail,
        raw_code=f"http.{answer.status}",
    )


def _unknown(answer: RawAnswer) -> Decision:
    return Decision(Outcome.UNKNOWN, raw_code=f"http.{answer.status}")
