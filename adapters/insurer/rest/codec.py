"""What a REST insurer's HTTP answer means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from adapters.insurer.canonical_codec import CONTENT_TYPE, asked_about, decode_decision
from schemas.base import Identifier, read_message
from schemas.codes import Outcome
from schemas.errors import InvalidMessage, Malformed
from schemas.payer import Decision, Operation, PayerTask, RawAnswer

PROBLEM_TYPE = "application/problem+json"
REFUSED = "urn:settlement-hub:problem:claim.refused"
NOT_FOUND = "urn:settlement-hub:problem:claim.not_found"


class ClaimProblem(BaseModel):
    """The only problem documents that are answers: the insurer read the message and says what it found.

    `claim.refused`: it did nothing. `claim.not_found`, of an inquiry: no request under this id has come to it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["urn:settlement-hub:problem:claim.refused", "urn:settlement-hub:problem:claim.not_found"]
    request_id: Identifier
    code: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    detail: Annotated[str, StringConstraints(max_length=1000)] = ""
    detail_zh: Annotated[str, StringConstraints(max_length=1000)] = ""


def decode_answer(task: PayerTask, answer: RawAnswer) -> Decision:
    """200 with a ClaimDecision is an answer, 4xx with a ClaimProblem for this request a no; UNKNOWN is the rest.

    To an inquiry only the typed 404 says "not found": any other may be a proxy's or a wrong path's.
    """
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
    outcome = _outcome_of(task, problem, answer.status)
    if outcome is None or problem.request_id != asked_about(task):
        return _unknown(answer)
    return Decision(
        outcome,
        reason_code=problem.code,
        reason_zh=problem.detail_zh,
        reason_en=problem.detail,
        raw_code=f"http.{answer.status}",
    )


def _outcome_of(task: PayerTask, problem: ClaimProblem, status: int) -> Outcome | None:
    """None for a problem that does not belong here: an inquiry that is refused says nothing about the claim."""
    if task.operation is Operation.INQUIRE:
        return Outcome.NOT_FOUND if problem.type == NOT_FOUND and status == 404 else None
    return Outcome.DECLINED if problem.type == REFUSED else None


def _unknown(answer: RawAnswer) -> Decision:
    return Decision(Outcome.UNKNOWN, raw_code=f"http.{answer.status}")
