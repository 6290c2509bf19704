"""Strict JSON: what lenient parsers let pass silently is refused here, before a model sees it.

Refused: bytes that are not UTF-8 JSON, a byte order mark, more than 1 MiB, nesting past 32, duplicate keys, NaN and
Infinity, lone surrogates, control and text-direction characters and noncharacters inside strings.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from schemas.errors import Malformed

BODY_MAX_BYTES = 1024 * 1024
DEPTH_MAX = 32
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_SPACE_BEFORE_COLON = re.compile(rb"[ \t\r\n]:")


def too_large(bytes_max: int) -> Malformed:
    """The refusal of more than so many bytes, whole MiB."""
    said = f"the body is larger than {bytes_max >> 20} MiB: send it in parts, a statement as a file"
    return Malformed(said, code="message.too_large")


def check_text(raw: bytes, bytes_max: int = BODY_MAX_BYTES) -> Any:
    """The parsed JSON of acceptable bytes; Malformed with the reason otherwise."""
    if len(raw) > bytes_max:
        raise too_large(bytes_max)
    try:
        text = raw.decode("utf-8")
        parsed = orjson.loads(raw)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8: encode it as UTF-8 without byte order mark") from None
    except orjson.JSONDecodeError:
        raise Malformed("the body is not well-formed JSON") from None
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX:
        _refuse_depth(parsed)
    # Each key adds one '":', and so does that text inside a string, here as in the parsed value written again, unless
    # space stands before a colon or a quote is written as a number. Where the counts agree no key was swallowed.
    written_plainly = b"\\u" not in raw and not _SPACE_BEFORE_COLON.search(raw)
    if not written_plainly or raw.count(b'":') != orjson.dumps(parsed).count(b'":'):
        _refuse_duplicates(text)
    if b"\\" in raw:  # an escape may stand for a character that must not be there
        _check_strings(parsed)
    elif _FORBIDDEN.search(text):
        raise Malformed("text holds control or text-direction characters: remove them")
    return parsed


def _refuse_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(DEPTH_MAX + 1):
        level = [
            below
            for node in level
            for below in (node.values() if isinstance(node, dict) else node)
            if isinstance(below, dict | list)
        ]
        if not level:
            return
    raise Malformed(f"nesting is deeper than {DEPTH_MAX} levels")


def _refuse_duplicates(text: str) -> None:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(found)
        if len(unique) != len(found):
            raise Malformed("a key occurs twice in one object: send each key once")
        return unique

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise Malformed("the body is not well-formed JSON") from None


def _check_strings(parsed: Any) -> None:
    stack = [parsed]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if _FORBIDDEN.search(node):
                raise Malformed("text holds control or text-direction characters: remove them")
        elif isinstance(node, dict):
            stack.extend(node)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
