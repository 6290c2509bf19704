"""Several calls to a payer as one attempt: register, upload the fees, settle.

The script of the calls is the prepared body, committed as evidence before the first byte leaves; the transcript of what
was really said and heard is the raw answer. Only one step of a conversation has the effect: a failure before it means
that nothing was settled, since the steps before it are harmless to repeat.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import HubError, Malformed, OutcomeUnknown, Unavailable
from schemas.payer import PreparedCall, RawAnswer

SCRIPT = "application/vnd.settlement-hub.script+json"
TRANSCRIPT = "application/vnd.settlement-hub.transcript+json"


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a script. `body` may leave gaps that answers to earlier steps fill."""

    name: str
    body: str
    path: str = ""
    effect: bool = False
    """This step settles or undoes; exactly one of a conversation does."""


@dataclass(frozen=True, slots=True)
class Said:
    """One call of a transcript."""

    name: str
    sent: bytes
    status: int
    content_type: str
    answer: bytes


Speak = Callable[[Step, Sequence[Said], float], "Said | None"]
"""Makes one call within so many seconds, knowing what was said before; None when it does not apply (already done).

Raises Unavailable when nothing was sent and OutcomeUnknown when no whole answer came.
"""
GoesOn = Callable[[Said], bool]
"""Whether the answer lets the conversation go on."""


def script(steps: Sequence[Step]) -> PreparedCall:
    """The evidence and the plan of a conversation. Exactly one step has the effect (AssertionError)."""
    assert sum(step.effect for step in steps) == 1, "one step of a conversation has the effect"
    plan = [{"name": step.name, "path": step.path, "effect": step.effect, "body": step.body} for step in steps]
    return PreparedCall(orjson.dumps(plan), SCRIPT)


def steps_of(call: PreparedCall) -> list[Step]:
    """The steps of a prepared script."""
    return [Step(**step) for step in orjson.loads(call.body)]


def converse(steps: Sequence[Step], speak: Speak, goes_on: GoesOn, timeout_s: float) -> RawAnswer:
    """Say the steps one after the other until one is refused or all are said, within `timeout_s` altogether.

    Unavailable: it failed before the step with the effect. OutcomeUnknown: it failed at that step or after.
    """
    ends_at = time.monotonic() + timeout_s
    said: list[Said] = []
    effect_begun = False
    for step in steps:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            raise _broken_off(effect_begun)
        try:
            heard = speak(step, said, left_s)
        except Unavailable:
            if effect_begun:
                raise OutcomeUnknown("the conversation broke off after its effect", code="call.broken_off") from None
            raise
        except (OutcomeUnknown, Malformed) as error:
            if effect_begun or step.effect:
                raise
            raise Unavailable("a step before the effect got no answer", code=error.code) from None
        if heard is None:
            continue
        effect_begun = effect_begun or step.effect
        said.append(heard)
        if not goes_on(heard):
            break
    return transcript(said)


def _broken_off(effect_begun: bool) -> HubError:
    if effect_begun:
        return OutcomeUnknown("the time was up after the effect", code="call.timeout")
    return Unavailable("the time was up before the effect", code="call.timeout")


def transcript(said: Sequence[Said]) -> RawAnswer:
    """The raw answer that holds every call."""
    calls = [
        {
            "name": one.name,
            "status": one.status,
            "content_type": one.content_type,
            "sent": base64.b64encode(one.sent).decode(),
            "answer": base64.b64encode(one.answer).decode(),
        }
        for one in said
    ]
    return RawAnswer(orjson.dumps(calls), 200, TRANSCRIPT)


def calls_of(answer: RawAnswer) -> list[Said]:
    """The calls of a transcript; Malformed when it is none."""
    if answer.content_type != TRANSCRIPT:
        raise Malformed("an answer that is no transcript", code="answer.content_type")
    try:
        return [_said_of(one) for one in orjson.loads(answer.body)]
    except (ValueError, KeyError, TypeError):
        raise Malformed("a broken transcript", code="answer.transcript") from None


def _said_of(one: Mapping[str, Any]) -> Said:
    name, status, content_type = one["name"], one["status"], one["content_type"]
    if not (isinstance(name, str) and isinstance(status, int) and isinstance(content_type, str)):
        raise TypeError("a transcript of other types")
    return Said(name, base64.b64decode(one["sent"]), status, content_type, base64.b64decode(one["answer"]))
