"""Stopping and releasing calls to a payer, or to all of them: at once, by one person, with the reason on record.

Stopping only ever makes the hub say less: first requests are deferred, doubts and undos rest. So does releasing by
itself: what rested goes on under the retry budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from hub.people.actions import ActionKind
from hub.ports import Clock
from hub.work import Work
from schemas.errors import InvalidMessage, Violation
from store import payers
from store.actions import Action

_PREFIX = "payer/"


def subject_of(party: str) -> str:
    """How an action names a payer, or all of them (`*`)."""
    return f"{_PREFIX}{party}"


def payer_kinds(clock: Clock, known: Callable[[], Collection[str]]) -> tuple[ActionKind, ...]:
    """The kinds `payer.stop` and `payer.resume`, about `payer/<code>` or `payer/*`."""

    def check(_work: Work, action: Action) -> None:
        party = action.subject.removeprefix(_PREFIX)
        if party != payers.EVERYBODY and party not in known():
            remedy = f"use * for all, or one of {', '.join(sorted(known()))}"
            raise InvalidMessage("no such payer", Violation("payer", "payer.unknown", remedy), code="operator.invalid")

    def turned(*, stopped: bool) -> Callable[[Work, Action], str]:
        def run(work: Work, action: Action) -> str:
            check(work, action)
            party = action.subject.removeprefix(_PREFIX)
            payers.turn(
                work.connection,
                party,
                stopped=stopped,
                reason=action.reason,
                by=action.requested_by,
                now=clock.now(),
            )
            return f"calls to {'every payer' if party == payers.EVERYBODY else party} {'stop' if stopped else 'go on'}"

        return run

    def alone(_work: Work, _action: Action) -> bool:
        return False

    return (
        ActionKind("payer.stop", turned(stopped=True), second_person=alone, check=check),
        ActionKind("payer.resume", turned(stopped=False), second_person=alone, check=check),
    )
