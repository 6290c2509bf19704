"""A REST insurer's books of a day: GET {endpoint}/statements/{day}?page=N answers a StatementPage."""

from __future__ import annotations

from adapters.insurer.canonical_codec import CONTENT_TYPE
from adapters.statement_pages import checked, refuse_status
from schemas.base import read_message
from schemas.errors import Malformed
from schemas.payer import PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion


def encode_question(question: StatementQuestion) -> PreparedCall:
    """A path alone."""
    return PreparedCall(b"", "", f"/statements/{question.day.isoformat()}?page={question.page}", "GET")


def decode_page(question: StatementQuestion, answer: RawAnswer) -> StatementPage:
    """See `hub.ports.StatementAdapter`."""
    if answer.status != 200:
        refuse_status(question, answer.status)
    if answer.content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise Malformed("an answer that is not JSON", code="answer.content_type", party=question.payer)
    return checked(question, read_message(StatementPage, answer.body))
