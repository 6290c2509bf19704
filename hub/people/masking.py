"""A message for people's eyes: what says who somebody is or what ails them is hidden, what explains the case is not.

A field is shown because it is known to be harmless, never hidden because it is known to be personal.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any

import orjson

SHOWN = frozenset({
    "schema_version", "institution", "settlement_no", "cancel_no", "reverse_no", "region", "case_id", "leg_no", "op",
    "operation", "request_id", "original_request_id", "payer", "product", "outcome", "status", "revision", "final",
    "payer_reference", "total", "amount", "price", "quantity", "left", "paid", "cash", "account", "hospital",
    "line_no", "item_code", "category", "level", "kind", "medical_type", "started_at", "ended_at", "occurred_on",
    "answer_by", "decided_at", "answered_at", "use_account", "main", "error", "code", "field", "message_id", "type",
})  # fmt: skip
_PERSONAL = frozenset({"patient", "diagnoses", "insurance", "policy_no"})
_HARMLESS_TEXT = re.compile(r"[0-9A-Za-z._:+/\[\]-]{0,64}", re.ASCII)
_LIKE_A_PERSON = re.compile(r"\d{17}[\dXx]|\d{15}|(\+?86-?)?1\d{10}", re.ASCII)
_KEY_MAX = 64

Mask = Callable[[str], str]


def masked(body: bytes, *, entries_max: int = 0) -> str:
    """The body as indented JSON with personal values replaced; for other bytes, what they are.

    `entries_max`: of longer lists the beginning is shown and how many follow; 0 for all.
    """
    return _lines(body, lambda _: "***", entries_max)


def plain(body: bytes) -> str:
    """The body as it is: indented where it is JSON, with bytes that are no text written as \\x.."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return body.decode(errors="backslashreplace")


def difference(before: bytes, after: bytes, *, hidden: bool = True) -> str:
    """A unified diff; with `hidden`, personal values appear as marks that differ where the values differ."""
    salt = secrets.token_bytes(16)

    def mark(text: str) -> str:
        return "*** #" + hashlib.sha256(salt + text.encode(errors="surrogatepass")).hexdigest()[:4]

    old, new = (_lines(body, mark) if hidden else plain(body) for body in (before, after))
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "as it died", "as edited", lineterm="")
    return "\n".join(lines)


def _lines(body: bytes, mask: Mask, entries_max: int = 0) -> str:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        digest = hashlib.sha256(body).hexdigest()
        return f"({len(body)} bytes that are no JSON, SHA-256 {digest[:16]}…)"
    shown = _shortened(_masked(content, "", mask, personal=False), entries_max)
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()


def _shortened(value: Any, entries_max: int) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one, entries_max) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    kept = [_shortened(one, entries_max) for one in value]
    left = len(kept) - entries_max
    return [*kept[:entries_max], f"… {left} more"] if entries_max and left > 0 else kept


def _masked(value: Any, key: str, mask: Mask, *, personal: bool) -> Any:
    if isinstance(value, dict):
        return {
            name[:_KEY_MAX]: _masked(one, name, mask, personal=personal or name in _PERSONAL)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_masked(one, key, mask, personal=personal) for one in value]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    shown = key in SHOWN and not personal and _HARMLESS_TEXT.fullmatch(text) and not _LIKE_A_PERSON.fullmatch(text)
    return value if shown else mask(text)
