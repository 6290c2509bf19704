"""Calling a payer outside any transaction, and saying how the call ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from hub.gate import Gate
from hub.outcomes import Ending, Finished
from hub.ports import PayerAdapter
from routing.rulebook import Party
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable
from schemas.payer import Capabilities, PayerTask, PreparedCall, RawAnswer

log = structlog.get_logger()

_NO_ANSWER = RawAnswer(b"")


@dataclass(frozen=True, slots=True)
class Payer:
    """A party of the rule book with the adapter that speaks its language."""

    party: Party
    adapter: PayerAdapter
    gate: Gate

    @property
    def can(self) -> Capabilities:
        """What its interface can be trusted with: what the adapter knows, less what the rule book denies it."""
        declared = self.adapter.capabilities
        return declared.without(self.party.lacks) if self.party.lacks else declared


def ask(adapter: PayerAdapter, task: PayerTask, call: PreparedCall, attempt: int, timeout_s: float) -> Finished:
    """Call a payer and say how it ended. Never raises: whatever is not an explicit answer is a doubt."""
    try:
        answer = adapter.send(call, timeout_s)
    except Unavailable as error:
        return ended(task, attempt, Ending.NOT_SENT, error.code)
    except OutcomeUnknown as error:
        return ended(task, attempt, Ending.LOST, error.code)
    except Exception as error:  # a bug of ours after bytes may have left: keep the doubt, wake someone
        log.exception("payer_call_failed", payer=task.payer, case_id=task.case_id, error=type(error).__name__)
        return ended(task, attempt, Ending.LOST, type(error).__name__)
    return read_answer(adapter, task, answer, attempt)


def read_answer(adapter: PayerAdapter, task: PayerTask, answer: RawAnswer, attempt: int) -> Finished:
    """Decode what a payer sent. Never raises: unreadable is a doubt, contradictory is held."""
    try:
        decision = adapter.decode(task, answer)
    except (Malformed, OutcomeUnknown) as error:
        return ended(task, attempt, Ending.LOST, error.code, answer)
    except InvalidMessage as error:
        log.warning("payer_answer_held", payer=task.payer, case_id=task.case_id, code=error.code)
        return ended(task, attempt, Ending.BROKEN, error.code, answer)
    except Exception as error:
        log.exception("payer_answer_unreadable", payer=task.payer, case_id=task.case_id, error=type(error).__name__)
        return ended(task, attempt, Ending.LOST, type(error).__name__, answer)
    return replace(ended(task, attempt, Ending.DECIDED, "", answer), decision=decision)


def ended(task: PayerTask, attempt: int, ending: Ending, detail: str, answer: RawAnswer = _NO_ANSWER) -> Finished:
    return Finished(
        case_id=task.case_id,
        leg_no=task.leg_no,
        operation=task.operation,
        request_id=task.request_id,
        attempt=attempt,
        ending=ending,
        body=answer.body,
        status=answer.status,
        content_type=answer.content_type,
        detail=detail,
    )
