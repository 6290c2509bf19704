"""Names of exchanges and queues as the handlers use them; `hub.broker.topology` declares what they mean."""

from __future__ import annotations

import orjson
import uuid_utils

from hub.broker.topology import COMMANDS, OUT, out_queue, payer_queue
from hub.broker.transport import OutboundMessage

OUT_PREFIX = "out:"
HINT_PREFIX = "hint:"
STAGING_PREFIX = "staging:"


def new_id() -> str:
    """A time-ordered UUID as text."""
    return str(uuid_utils.uuid7())


def leg_command(case_id: str, leg_no: int, payer: str, region: str) -> OutboundMessage:
    """The command to look at a leg: ids only, nothing personal rests in the broker. Its state says what to do."""
    return OutboundMessage(
        message_id=new_id(),
        exchange=COMMANDS,
        routing_key=payer_queue(payer),
        body=orjson.dumps({"case_id": case_id, "leg_no": leg_no}),
        type="leg",
        correlation_id=case_id,
        region=region,
    )


def party_message(party: str, body: bytes, *, type_: str, correlation_id: str, region: str) -> OutboundMessage:
    """A message to a party's own queue `out.<party>`."""
    return OutboundMessage(
        message_id=new_id(),
        exchange=OUT,
        routing_key=out_queue(party),
        body=body,
        type=type_,
        correlation_id=correlation_id,
        region=region,
    )
