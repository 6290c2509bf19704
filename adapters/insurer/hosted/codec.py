"""The canonical claim messages, with an answer that carries its calculation."""

from __future__ import annotations

from typing import Literal

from adapters.insurer.canonical_codec import CONTENT_TYPE, asked_about, decode_decision
from schemas.base import Identifier, Value, read_message
from schemas.codes import Outcome
from schemas.errors import Malformed, OutcomeUnknown
from schemas.hosted import HostedAnswer
from schemas.payer import Decision, Operation, PayerTask, RawAnswer

ANSWERED = 200
NOT_FOUND = 404


class NoSuchClaim(Value):
    """The answer to an inquiry about a claim that is not in the book."""

    request_id: Identifier
    outcome: Literal["not_found"] = "not_found"


def encode_answer(answer: HostedAnswer) -> RawAnswer:
    """The bytes that are kept as evidence."""
    return RawAnswer(answer.model_dump_json(exclude_none=True).encode(), ANSWERED, CONTENT_TYPE)


def encode_not_found(request_id: str) -> RawAnswer:
    """The same for an inquiry that finds nothing."""
    return RawAnswer(NoSuchClaim(request_id=request_id).model_dump_json().encode(), NOT_FOUND, CONTENT_TYPE)


def decode_answer(task: PayerTask, answer: RawAnswer) -> Decision:
    """The book's word on this task. Malformed or OutcomeUnknown for what is no answer to it."""
    if answer.status == ANSWERED:
        return decode_decision(task, answer.body, HostedAnswer)
    if answer.status != NOT_FOUND or task.operation is not Operation.INQUIRE:
        raise Malformed("not a book's answer", code="answer.status", party=task.payer)
    if read_message(NoSuchClaim, answer.body).request_id != asked_about(task):
        raise OutcomeUnknown("not an answer to this request", party=task.payer, request_id=task.request_id)
    return Decision(Outcome.NOT_FOUND, raw_code="not_found")
