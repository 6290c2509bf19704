"""Messages as they should not be: a field with a wrong value, or left out; in JSON, XML, and XML inside XML."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import orjson

from adapters.conversation import SCRIPT
from schemas.payer import PreparedCall

Change = Callable[[str], str]
_NAME = r"[A-Za-z_][\w:.-]*"


def with_value(call: PreparedCall, value: str, other: str) -> PreparedCall | None:
    """The same message with `other` wherever `value` is the value of a field; None where it is none."""
    return _changed(call, lambda text: _number(value).sub(other, text))


def without_field(call: PreparedCall, value: str) -> PreparedCall | None:
    """The same message without the fields that have this value; None where no field has it."""
    written = _number(value).pattern
    json_field = rf'"{_NAME}"\s*:\s*"?{written}"?'
    escaped = rf"&lt;({_NAME})(?:(?!&gt;).)*&gt;{written}&lt;/\1&gt;"
    element = rf"<({_NAME})[^<>]*>{written}</\2>"
    field = re.compile(rf"{json_field}\s*,|,\s*{json_field}|{escaped}|{element}", re.ASCII)
    return _changed(call, lambda text: field.sub("", text))


def _number(value: str) -> re.Pattern[str]:
    """The value where it stands alone, and not as a part of a longer number."""
    return re.compile(rf"(?<![\d.]){re.escape(value)}(?![\d.])", re.ASCII)


def _changed(call: PreparedCall, change: Change) -> PreparedCall | None:
    if call.content_type == SCRIPT:
        plan = orjson.loads(call.body)
        for step in plan:
            step["body"] = change(step["body"]) if step["effect"] else step["body"]
        body = orjson.dumps(plan)
    else:
        body = change(call.body.decode()).encode()
    return replace(call, body=body) if body != call.body else None
