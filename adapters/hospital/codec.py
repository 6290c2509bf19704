"""What parties send to the hub and get back, the same for AMQP and HTTP: bytes <-> canonical messages."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.hospital.problems import error_answer
from schemas.answer import CombinedAnswer, ErrorAnswer
from schemas.base import Value, read_message
from schemas.errors import HubError, InvalidMessage, Malformed
from schemas.transactions import HOSPITAL_MESSAGES, INSURER_MESSAGES, Transaction

CONTENT_TYPE = "application/json"
_TRANSACTIONS = {each.value: each for each in Transaction}


def read_hospital_message(transaction: str, body: bytes, content_type: str = "") -> tuple[Transaction, Value]:
    """A hospital's message, validated.

    `transaction` is the AMQP message's type or the last part of the path; no content type counts as JSON. Raises
    InvalidMessage with code transaction.unknown, Malformed or InvalidMessage with one Violation per wrong field.
    """
    return _read(HOSPITAL_MESSAGES, transaction, body, content_type)


def read_insurer_message(transaction: str, body: bytes, content_type: str = "") -> tuple[Transaction, Value]:
    """The same for what insurers send on their own."""
    return _read(INSURER_MESSAGES, transaction, body, content_type)


def write_answer(answer: CombinedAnswer | ErrorAnswer) -> bytes:
    """JSON of an answer for a queue or an HTTP body."""
    return answer.__pydantic_serializer__.to_json(answer, exclude_none=True)


def write_refusal(error: HubError, *, case_id: str | None = None, message_id: str | None = None) -> bytes:
    """JSON of the refusal of a message that came through a queue."""
    return write_answer(error_answer(error, case_id=case_id, message_id=message_id))


def _read(
    messages: Mapping[Transaction, type[Value]], name: str, body: bytes, content_type: str
) -> tuple[Transaction, Value]:
    transaction = _TRANSACTIONS.get(name)
    if transaction is None or transaction not in messages:
        raise InvalidMessage("no such transaction for this party", code="transaction.unknown")
    _check_content_type(content_type)
    return transaction, read_message(messages[transaction], body)


def _check_content_type(content_type: str) -> None:
    media_type, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charsets = [each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset=")]
    if media_type not in ("", CONTENT_TYPE) or any(charset != "utf-8" for charset in charsets):
        raise Malformed("the content type is not application/json in UTF-8", code="message.content_type")
