"""A hospital's message on its way to the hub, over HTTP or AMQP, and the answer back."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
import pika
import urllib3
from pika.exceptions import AMQPError

from hub.broker.io_thread import split_urls
from hub.broker.topology import in_exchange, out_queue, queue_on_broker
from hub.gateway.identity import token_for
from hub.settings import Settings
from schemas.transactions import MESSAGES, Transaction

MARGIN_S = 5.0


class Refused(Exception):
    """No answer: `problem` is the hub's own refusal; without one the text says what is wrong here."""

    def __init__(self, text: str, problem: dict[str, Any] | None = None, *, usage: bool = False) -> None:
        super().__init__(text)
        self.problem = problem
        self.usage = usage


@dataclass(slots=True)
class Message:
    """A message with everything its envelope needs. `repeated` is told by the hub."""

    transaction: Transaction
    party: str
    key: str
    body: bytes
    repeated: bool = False


def message_of(body: bytes, transaction: str, party: str, key: str) -> Message:
    """The message in `body`; what is left empty is guessed from it. Refused when that is impossible."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"FILE: is not well-formed JSON: {error}", usage=True) from None
    if not isinstance(content, dict):
        raise Refused("FILE: must hold one JSON object", usage=True)
    name = _transaction(content, transaction)
    speaker = party or str(content.get("institution", ""))
    if not speaker:
        raise Refused("--party: say who speaks, the message names no institution", usage=True)
    return Message(name, speaker, key or _key(content, name, speaker), body)


def _transaction(content: dict[str, Any], name: str) -> Transaction:
    if name:
        if name in {known.value for known in MESSAGES}:
            return Transaction(name)
        raise Refused(f"--transaction: one of {', '.join(MESSAGES)}", usage=True)
    if "cancel_no" in content or "reverse_no" in content:
        return Transaction.CANCEL if "cancel_no" in content else Transaction.REVERSE
    if "request_no" in content:
        raise Refused("--transaction: say which one this is, such as admission.register", usage=True)
    return Transaction.SETTLE if "fees" in content else Transaction.QUERY


_NUMBERS = {
    Transaction.CANCEL: "cancel_no",
    Transaction.REVERSE: "reverse_no",
    Transaction.SETTLE: "settlement_no",
    Transaction.ADJUDICATION_UPLOAD: "settlement_no",
}


def _key(content: dict[str, Any], transaction: Transaction, party: str) -> str:
    """The same for the same message, so that sending a file twice is a repeat; new for trials and queries."""
    number = content.get(_NUMBERS.get(transaction, ""))
    if isinstance(number, str):
        return f"{party}-{number}"[:64]
    if isinstance(number := content.get("request_no"), str):
        return f"{transaction.value}-{number}"[:64]
    return str(uuid.uuid4())


def by_http(message: Message, given: Settings, url: str, token: str, wait_s: float) -> dict[str, Any]:
    """POST it and give the answer. Refused with the problem of the hub, or when nobody answers."""
    host = "127.0.0.1" if given.http_host in ("0.0.0.0", "::") else given.http_host
    address = f"{url.rstrip('/') or f'http://{host}:{given.http_port}'}/api/v1/transactions/{message.transaction}"
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": message.key,
        "Prefer": f"wait={wait_s:.0f}",
        **_identity(message, given, token),
    }
    try:
        answer = urllib3.request(
            "POST", address, body=message.body, headers=headers, retries=False, redirect=False,
            timeout=urllib3.Timeout(connect=3.0, read=wait_s + MARGIN_S),
        )  # fmt: skip
        content = orjson.loads(answer.data)
    except urllib3.exceptions.HTTPError as error:
        raise Refused(f"--url: no hub answers at {address} ({type(error).__name__}); is `hub run` running?") from None
    except orjson.JSONDecodeError:
        raise Refused(f"--url: {address} answered {answer.status} without JSON: this is no hub") from None
    if answer.status >= 400:
        raise Refused("refused", content)
    message.repeated = answer.headers.get("Idempotent-Replayed") == "true"
    return dict(content)


def _identity(message: Message, given: Settings, token: str) -> dict[str, str]:
    secret = given.party_token_secret.get_secret_value()
    if token or secret:
        return {"Authorization": f"Bearer {token or token_for(secret, message.party)}"}
    return {"X-Party": message.party}


def by_amqp(message: Message, given: Settings, wait_s: float) -> dict[str, Any]:
    """Publish it and give the newest answer on the party's queue; other messages there are left in place."""
    urls = given.edge_broker_url.get_secret_value() or given.broker_url.get_secret_value()
    if given.embedded_broker:
        raise Refused("HUB_BROKER_URL: --amqp needs RabbitMQ; set amqp://user:password@host:5672/vhost", usage=True)
    try:
        connection = pika.BlockingConnection([pika.URLParameters(url) for url in split_urls(urls)])
    except (AMQPError, OSError, ValueError) as error:
        raise Refused(f"HUB_BROKER_URL: RabbitMQ cannot be reached ({type(error).__name__})") from None
    try:
        queue = queue_on_broker(out_queue(message.party), given.queue_name_secret.get_secret_value())
        return _exchange(connection, message, queue, wait_s)
    except AMQPError as error:
        raise Refused(f"RabbitMQ: {error!r}; is {message.party} an institution with amqp in the rule book?") from None
    finally:
        if connection.is_open:
            connection.close()


def _exchange(connection: pika.BlockingConnection, message: Message, queue: str, wait_s: float) -> dict[str, Any]:
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        message_id=message.key, correlation_id=message.key, type=message.transaction.value, delivery_mode=2,
        content_type="application/json",
    )  # fmt: skip
    channel.basic_publish(in_exchange(message.party), message.transaction.value, message.body, properties, True)
    answer: dict[str, Any] | None = None
    deadline = time.monotonic() + wait_s
    for method, about, body in channel.consume(queue, inactivity_timeout=0.1):
        if method is not None and about.correlation_id == message.key:
            channel.basic_ack(method.delivery_tag)
            answer = dict(orjson.loads(body))
            if "error" in answer:
                raise Refused("refused", answer)
        if time.monotonic() > deadline or (answer is not None and answer.get("final", True)):
            break
    channel.cancel()  # gives back what was not for us
    if answer is None:
        raise Refused(f"no answer within {wait_s:.0f} s; it will wait on {out_queue(message.party)}")
    return answer
