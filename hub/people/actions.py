"""Operators' actions: asked for by one person, and where money can move carried out only when a second one agrees.

What an action does and that it was done are one transaction under the action's row lock: a crash carries it out once or
leaves it waiting, and of two who approve at the same time one comes too late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hub.people.operators import check_operator, check_reason
from hub.ports import Clock
from hub.work import Work, WorkUnits
from schemas.errors import (
    Conflict,
    Forbidden,
    HubError,
    IllegalTransition,
    InvalidMessage,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Violation,
)
from store import actions
from store.actions import Action, ActionState

Run = Callable[[Work, Action], str]
"""Does what the action asks, in the given unit of work; returns what was done in one line, without personal data.
A HubError says why it cannot be done: its effects are taken back and the action counts as failed."""


def _always(_work: Work, _action: Action) -> bool:
    return True


def _nothing(_work: Work, _action: Action) -> None: ...


@dataclass(frozen=True, slots=True)
class ActionKind:
    """A kind of action: its name, what it does, whether a second person must agree, and what must hold to ask for it.

    `second_person` may look into the store; when in doubt it says yes. `check` raises the HubError that the person who
    asks shall see; it is no protection, since things may change before the approval: `run` checks again.
    """

    name: str
    run: Run
    second_person: Callable[[Work, Action], bool] = _always
    check: Callable[[Work, Action], None] = _nothing


class Actions:
    """Requests, approvals and rejections of the registered kinds."""

    def __init__(self, work_units: WorkUnits, clock: Clock) -> None:
        self._work_units = work_units
        self._clock = clock
        self._kinds: dict[str, ActionKind] = {}

    def register(self, *kinds: ActionKind) -> None:
        """Make kinds known. ValueError: one of this name is known already."""
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"action kind {kind.name} is registered twice")
            self._kinds[kind.name] = kind

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of all kinds."""
        return tuple(sorted(self._kinds))

    def request(self, kind: str, subject: str, detail: Mapping[str, Any], reason: str, by: str) -> Action:
        """Ask for an action: executed at once, or waiting for a second person (state `requested`).

        InvalidMessage: unknown kind, no reason, no operator. Conflict: the same is waiting already, or it cannot be
        done; then nothing was recorded.
        """
        check_operator(by)
        known = self._kind(kind)
        with self._work_units.begin("action") as work:
            actions.hold(work.connection, kind, subject)
            action = actions.add(
                work.connection, kind, subject, detail, reason=check_reason(reason), by=by, now=self._clock.now()
            )
            self._refuse_twin(work, action)
            known.check(work, action)
            if known.second_person(work, action):
                return action
            return self._decided(work, action, ActionState.EXECUTED, "", known.run(work, action))

    def record(self, work: Work, kind: str, subject: str, detail: Mapping[str, Any], reason: str, by: str) -> Action:
        """Write down what this unit of work does for an operator; for what needs nobody's consent."""
        now = self._clock.now()
        action = actions.add(work.connection, kind, subject, detail, reason=reason, by=check_operator(by), now=now)
        return self._decided(work, action, ActionState.EXECUTED, "", "done")

    def approve(self, action_id: int, by: str) -> Action:
        """Carry out what somebody else asked for: `executed`, or `failed` with the reason in `outcome`.

        Forbidden: one's own. Conflict: decided already.
        """
        check_operator(by)
        with self._work_units.begin("approve") as work:
            action = self._waiting(work, action_id)
            if action.requested_by == by:
                raise Forbidden("another operator must approve it", code="action.own", action=action_id)
            # Who agrees is part of what is carried out: some things are signed by both.
            state, outcome = self._run(work, replace(action, decided_by=by))
            return self._decided(work, action, state, by, outcome)

    def reject(self, action_id: int, by: str, reason: str) -> Action:
        """Say no to a waiting action; who asked for it withdraws it this way. Conflict: decided already."""
        check_operator(by)
        reason = check_reason(reason)
        with self._work_units.begin("reject") as work:
            action = self._waiting(work, action_id)
            own = action.requested_by == by
            outcome = f"withdrawn: {reason}" if own else reason
            return self._decided(work, action, ActionState.REJECTED, "" if own else by, outcome)

    def get(self, action_id: int) -> Action:
        """The action; NotFound when there is none."""
        with self._work_units.read() as connection:
            return actions.read(connection, action_id) or _missing(action_id)

    def pending(self, kind: str = "") -> list[Action]:
        """What waits for a second person, the newest first."""
        return self.listed(state=ActionState.REQUESTED, kind=kind)

    def listed(self, *, state: str = "", kind: str = "", subject: str = "", limit: int = 100) -> list[Action]:
        """Actions, the newest first."""
        with self._work_units.read() as connection:
            return actions.listed(connection, state=state, kind=kind, subject=subject, limit=limit)

    def _kind(self, name: str) -> ActionKind:
        if name not in self._kinds:
            remedy = f"use one of {', '.join(self.kinds)}"
            raise InvalidMessage("unknown kind", Violation("kind", "action.kind", remedy), code="operator.invalid")
        return self._kinds[name]

    @staticmethod
    def _refuse_twin(work: Work, action: Action) -> None:
        """Two equal ones would only confuse who approves; carrying out both is prevented elsewhere."""
        twin = actions.twin(work.connection, action.id)
        if twin is not None:
            raise Conflict(f"action {twin} asks for the same and waits for approval", code="action.waiting")

    @staticmethod
    def _waiting(work: Work, action_id: int) -> Action:
        action = actions.lock(work.connection, action_id) or _missing(action_id)
        if action.state is not ActionState.REQUESTED:
            who = f" by {action.decided_by}" if action.decided_by else ""
            raise Conflict(f"action {action_id} is {action.state} already{who}", code="action.decided")
        return action

    def _run(self, work: Work, action: Action) -> tuple[ActionState, str]:
        messages, hints = len(work.outgoing), len(work.hints)
        try:
            with work.connection.begin_nested():
                return ActionState.EXECUTED, self._kind(action.kind).run(work, action)
        except (Unavailable, OutcomeUnknown, IllegalTransition):
            raise
        except HubError as error:
            del work.outgoing[messages:], work.hints[hints:]
            return ActionState.FAILED, error.message or str(error) or error.code

    def _decided(self, work: Work, action: Action, state: ActionState, by: str, outcome: str) -> Action:
        return actions.decide(work.connection, action.id, state, by=by, outcome=outcome, now=self._clock.now())


def _missing(action_id: int) -> Any:
    raise NotFound("there is no such action", code="action.not_found", action=action_id)
