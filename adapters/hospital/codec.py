"""What hospitals get back, as bytes, the same for AMQP and HTTP; `schemas.base.read_message` reads what they send."""

from __future__ import annotations

from adapters.hospital.problems import error_answer
from schemas.answer import CombinedAnswer, ErrorAnswer
from schemas.errors import HubError


def write_answer(answer: CombinedAnswer | ErrorAnswer) -> bytes:
    """JSON of an answer for a queue or an HTTP body."""
    return answer.__pydantic_serializer__.to_json(answer, exclude_none=True)


def write_refusal(error: HubError, *, case_id: str = "", message_id: str = "") -> bytes:
    """JSON of the refusal of a message that came through a queue; an empty id is left out."""
    return write_answer(error_answer(error, case_id=case_id or None, message_id=message_id or None))
