"""What a dead letter is: whose message, which transaction, whether money hangs on it, which case it names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from hub.broker.topology import COMMANDS, OUT, in_exchange, out_queue, payer_queue
from hub.broker.transport import OutboundMessage
from hub.tasks import leg_of_request_id
from store.dead_letters import StoredLetter

LEG = "leg"
HARMLESS = frozenset({"case.query", "settlement.trial", "settlement.answer", "error.answer", "claim.trial"})
"""Neither handling these nor losing them moves money. Whatever is not named here counts as money."""
_CASE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_REPLAYED = re.compile(r".*/replay-([0-9]{1,18})", re.ASCII | re.DOTALL)
_MESSAGE_ID_BYTES_MAX = 200


class Way(StrEnum):
    """Where a letter was going: from a party to the hub, from the hub to itself, from the hub to a party."""

    IN = "in"
    COMMAND = "command"
    OUT = "out"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a letter is. `what` is a transaction or a message type; `party` the sender, payer or receiver."""

    way: Way
    what: str
    party: str

    @property
    def money(self) -> bool:
        return self.what not in HARMLESS


@dataclass(frozen=True, slots=True)
class Named:
    """The case that a letter is about, by its id or by the institution's own number."""

    case_id: str = ""
    institution: str = ""
    settlement_no: str = ""
    leg_no: int = 0


def facts_of(letter: StoredLetter) -> Facts:
    """By where the message was on its way, never by what it says of itself."""
    if letter.exchange.startswith(in_exchange("")):
        return Facts(Way.IN, letter.routing_key, letter.exchange.removeprefix(in_exchange("")))
    if letter.exchange == COMMANDS:
        return Facts(Way.COMMAND, LEG, letter.routing_key.removeprefix(payer_queue("")))
    if letter.exchange == OUT:
        return Facts(Way.OUT, letter.type or letter.routing_key, letter.routing_key.removeprefix(out_queue("")))
    return Facts(Way.UNKNOWN, letter.routing_key or letter.type, "")


def content_of(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object; None when it is none."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def named_in(letter: StoredLetter) -> Named:
    """The case that the body or the correlation names; all empty when neither does."""
    content = content_of(letter.to_send) or {}
    case_id, request_id = _text(content, "case_id"), _text(content, "request_id")
    if _CASE_ID.fullmatch(case_id):
        leg_no = content.get("leg_no")
        return Named(case_id=case_id, leg_no=leg_no if isinstance(leg_no, int) else 0)
    for leg in (leg_of_request_id(request_id), leg_of_request_id(letter.correlation_id)):
        if leg is not None:
            return Named(case_id=leg[0], leg_no=leg[1])
    if _text(content, "institution") and _text(content, "settlement_no"):
        return Named(institution=_text(content, "institution"), settlement_no=_text(content, "settlement_no"))
    return Named(case_id=letter.correlation_id) if _CASE_ID.fullmatch(letter.correlation_id) else Named()


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    return value if isinstance(value, str) and "\0" not in value else ""


def replay_id(letter: StoredLetter) -> str:
    """The message id of the letter's replay: always the same, and nobody else's."""
    old = letter.message_id
    if len(old.encode()) > _MESSAGE_ID_BYTES_MAX:
        old = "sha256:" + hashlib.sha256(old.encode()).hexdigest()
    return f"{old}/replay-{letter.id}"


def replay_of(message_id: str) -> int:
    """The letter that a message id of ours says it is a replay of; 0 when it says nothing."""
    found = _REPLAYED.fullmatch(message_id)
    return int(found[1]) if found else 0


def replay_message(letter: StoredLetter) -> OutboundMessage:
    """The letter as it was sent, through the exchange it came through, under the id of its replay.

    A party's message goes back to that party's exchange: to it only the party and the hub may publish, so it arrives as
    that party's message and no header has to say so.
    """
    return OutboundMessage(
        message_id=replay_id(letter),
        exchange=letter.exchange,
        routing_key=letter.routing_key,
        body=letter.to_send,
        type=letter.type,
        # The sender finds its answer by this; it never heard of our new id.
        correlation_id=letter.correlation_id or letter.message_id,
        content_type=letter.content_type or "application/json",
        headers=letter.headers,
        region=letter.region,
    )


def digest_of(body: bytes) -> str:
    """What an approval is bound to."""
    return hashlib.sha256(body).hexdigest()
