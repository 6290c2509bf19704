"""Who operates the hub: names, and how a name is recognised."""

from __future__ import annotations

import re

from schemas.errors import InvalidMessage, Violation

OPERATOR_PATTERN = r"^[a-z][a-z0-9_-]{1,31}$"
"""Small letters only: two names that look alike must not count as two persons."""
REASON_MAX = 500
_OPERATOR = re.compile(OPERATOR_PATTERN, re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def is_operator(name: str) -> bool:
    """Whether this can be an operator's name."""
    return _OPERATOR.fullmatch(name) is not None


def check_operator(name: str) -> str:
    """The name; InvalidMessage when it is none."""
    if not is_operator(name):
        remedy = "name the operator: 2 to 32 small letters, digits and _ -, a letter first"
        raise InvalidMessage("no operator's name", Violation("by", "operator.name", remedy), code="operator.invalid")
    return name


def check_reason(reason: str) -> str:
    """The reason without space around it; InvalidMessage when it says nothing or too much."""
    reason = reason.strip()
    if not reason or len(reason) > REASON_MAX or _CONTROL.search(reason):
        remedy = f"say why in 1 to {REASON_MAX} characters on one line, without anybody's personal data"
        raise InvalidMessage("no reason", Violation("reason", "action.reason", remedy), code="operator.invalid")
    return reason
