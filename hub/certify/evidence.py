"""What was said to a party and heard from it, made readable and without what says who somebody is.

The personal values are those of the test's own people, so they can be looked for by value in any dialect. What a party
adds of its own is caught by shape: identity numbers and mobile numbers.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from adapters.conversation import SCRIPT, TRANSCRIPT, calls_of, steps_of
from schemas.errors import HubError
from schemas.payer import Notice, PayerTask, PreparedCall, RawAnswer

SHOWN_MAX = 20_000
HIDDEN = "***"
_LIKE_A_PERSON = re.compile(r"(?<![\d.])(?:[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])\d{5}[\dXx]|1[3-9]\d{9})(?![\d.])")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was said. `ended` is what it meant: an outcome or the name of an error."""

    operation: str
    request_id: str
    sent: str
    answer: str
    status: int
    ended: str
    took_ms: float


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides these values, however a dialect writes them."""

    hidden: tuple[str, ...]

    def __call__(self, text: str) -> str:
        for value in self.hidden:
            text = text.replace(value, HIDDEN)
        text = _LIKE_A_PERSON.sub(HIDDEN, text)
        return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}\n… {len(text) - SHOWN_MAX} more characters"


def mask_of(values: Iterable[str | None]) -> Mask:
    """A mask for these values in plain text, in JSON with escapes and in XML."""
    written: set[str] = set()
    for value in values:
        if value:
            written |= {value, json.dumps(value)[1:-1], html.escape(value), html.escape(html.escape(value))}
    return Mask(tuple(sorted(written, key=len, reverse=True)))


def personal_values(task: PayerTask | Notice) -> list[str | None]:
    """What a task or a notice says of a person."""
    about = (task.message, task.admission) if isinstance(task, Notice) else (task.request,)
    patients = [found for one in about if (found := getattr(one, "patient", None)) is not None]
    insurances = [found for one in about if (found := getattr(one, "insurance", None)) is not None]
    return [
        task.policy_no,
        *(value for one in patients for value in (one.name, one.id_no, one.phone, *_written(one.birth_date))),
        *(value for one in insurances for value in (one.person_no, one.card_no)),
    ]


def _written(day: date | None) -> tuple[str, ...]:
    """A birth date as dialects write it."""
    return (day.isoformat(), f"{day:%Y%m%d}") if day else ()


def sent_text(call: PreparedCall) -> str:
    """The request as people read it: a script step by step, a request without a body as method and path."""
    if call.content_type == SCRIPT:
        return "\n\n".join(f"[{step.name}]\n{step.body}" for step in steps_of(call))
    return _text(call.body) if call.body else f"{call.method} {call.path}"


def answer_text(answer: RawAnswer) -> str:
    """The answer as people read it: of a conversation everything that was said, with the answers."""
    if answer.content_type == TRANSCRIPT:
        try:
            said = calls_of(answer)
        except HubError:
            return _text(answer.body)
        return "\n\n".join(f"[{one.name}] >\n{_text(one.sent)}\n[{one.name}] <\n{_text(one.answer)}" for one in said)
    return _text(answer.body)


def _text(body: bytes) -> str:
    for encoding in ("utf-8", "gbk"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return body.decode(errors="backslashreplace")
