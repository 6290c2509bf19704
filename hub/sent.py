"""What left for each payer, from the stored bytes themselves: which fields, and for who may see them the values."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from lxml import etree

from adapters.safe_xml import parse_xml
from schemas.errors import InvalidMessage
from store.exchanges import Exchange
from store.notices import StoredNotice

UNREADABLE = "(not readable)"
"""The one field of a message that no form of ours explains, such as an encrypted one."""
_DEPTH_MAX = 8
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True, slots=True)
class SentField:
    """A field that left with something in it, and what; repeated ones once for each time."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One message to a payer. `digest` is the SHA-256 of the bytes."""

    payer: str
    what: str
    at: datetime
    attempt: int
    size: int
    digest: str
    fields: tuple[SentField, ...]

    def names(self) -> dict[str, int]:
        """Each field with how often it occurs, in the order of the message."""
        counted: dict[str, int] = {}
        for field in self.fields:
            counted[field.path] = counted.get(field.path, 0) + 1
        return counted


def sent_messages(exchanges: Sequence[Exchange], notices: Sequence[StoredNotice], payer: str = "") -> list[Sent]:
    """Everything that left for payers about a case, in order; only for one of them where it is named."""
    claims = [
        _sent(one.party, one.operation, one.at, one.attempt, one.body)
        for one in exchanges
        if one.direction == "out" and one.leg_no > 0
    ]
    told = [
        _sent(one.payer, one.transaction, one.created_at, one.attempts, one.sent)
        for one in notices
        if one.sent is not None
    ]
    found = [one for one in (*claims, *told) if payer in ("", one.payer)]
    return sorted(found, key=lambda one: one.at)


def _sent(payer: str, what: str, at: datetime, attempt: int, body: bytes) -> Sent:
    return Sent(payer, what, at, attempt, len(body), hashlib.sha256(body).hexdigest(), tuple(fields_of(body)))


def fields_of(body: bytes) -> list[SentField]:
    """The fields of a message in JSON or XML, those inside of messages in it too. Empty ones tell nobody anything."""
    if not body:
        return []
    return list(_of_bytes(body, "", 0)) or [SentField(UNREADABLE, f"{len(body)} bytes")]


def _of_bytes(body: bytes, path: str, depth: int) -> Iterator[SentField]:
    """Nothing for what is neither JSON nor XML."""
    begins = body.lstrip()[:1]
    if depth > _DEPTH_MAX or begins not in (b"{", b"[", b"<"):
        return
    if begins == b"<":
        yield from _of_xml(body, path, depth)
        return
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    yield from _of_json(value, path, depth)


def _of_json(value: Any, path: str, depth: int) -> Iterator[SentField]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _of_json(inner, f"{path}.{name}" if path else name, depth)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_json(inner, f"{path}[]", depth)
    elif value is not None and value != "":
        yield from _of_text(value if isinstance(value, str) else orjson.dumps(value).decode(), path, depth)


def _of_xml(body: bytes, path: str, depth: int) -> Iterator[SentField]:
    try:
        root = parse_xml(body)
    except InvalidMessage:
        return
    yield from _of_element(root, f"{path}.{_name(root)}" if path else _name(root), depth)


def _of_element(element: etree._Element, path: str, depth: int) -> Iterator[SentField]:
    for name, value in element.attrib.items():
        yield SentField(f"{path}@{etree.QName(name).localname}", str(value))
    if (element.text or "").strip():
        yield from _of_text(element.text or "", path, depth)
    for child in element:
        yield from _of_element(child, f"{path}.{_name(child)}", depth)


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


def _of_text(text: str, path: str, depth: int) -> Iterator[SentField]:
    """A message inside of a message is looked into, also where it is wrapped in base64."""
    said = _DECLARATION.sub("", text)  # text is text by now, whatever it once was encoded in
    inner = list(_of_bytes(said.encode(), path, depth + 1)) or list(_of_bytes(_unwrapped(text), path, depth + 1))
    yield from inner or [SentField(path, text)]


def _unwrapped(text: str) -> bytes:
    if len(text) < 16 or len(text) % 4:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
