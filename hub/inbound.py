"""A party's message on its way in, and what became of it: the same values for every channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.errors import HubError
from schemas.transactions import Transaction


@dataclass(frozen=True, slots=True)
class Inbound:
    """A hospital's message as it arrived. `party` is who the channel says is speaking, never what the body claims."""

    transaction: Transaction
    party: str
    message_id: str
    body: bytes
    reply_to: str
    received_at: datetime
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message: a case (with its stored answer if it has one already), or an error to report."""

    case_id: str = ""
    answer: bytes | None = None
    repeated: bool = False
    error: HubError | None = None
