"""The desk: every message of a party, from whatever channel, comes in here and goes where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Protocol

from hub.claims import ClaimAnswers
from hub.inbound import Inbound, Taken
from hub.intake import Intake
from hub.undo import Queries, Undo
from schemas.transactions import SPECS, Group, Transaction

BatchTaker = Callable[[Sequence[Inbound]], list[Taken]]


class Taker(Protocol):
    """Takes messages one by one."""

    def take(self, inbound: Inbound) -> Taken: ...


class Desk:
    """Dispatches by transaction; messages of one kind that follow each other stay together where that saves trips."""

    def __init__(
        self,
        intake: Intake,
        undo: Undo,
        queries: Queries,
        claims: ClaimAnswers,
        others: Mapping[Group, Taker] | None = None,
    ) -> None:
        """`others` take the messages that are no settlements, by group; the simulator has none."""
        by_group = {group: _each(taker.take) for group, taker in (others or {}).items()}
        self._takers: dict[Transaction, BatchTaker] = {
            **{name: by_group[spec.group] for name, spec in SPECS.items() if spec.group in by_group},
            Transaction.SETTLE: intake.take,
            Transaction.TRIAL: intake.take,
            Transaction.ADJUDICATION_UPLOAD: intake.take,
            Transaction.CLAIM_ANSWER: claims.take,
            Transaction.CANCEL: _each(undo.take),
            Transaction.REVERSE: _each(undo.take),
            Transaction.QUERY: _each(queries.take),
        }

    def take(self, batch: Sequence[Inbound]) -> list[Taken]:
        """One result per message, in order. Raises only when the database is away; repeating the batch is harmless."""
        results: list[Taken] = []
        # In their order: a cancel right behind its settlement must find the case.
        for take, run in groupby(batch, key=self._taker):
            results += take(list(run))
        return results

    def _taker(self, inbound: Inbound) -> BatchTaker:
        return self._takers[inbound.transaction]


def _each(take: Callable[[Inbound], Taken]) -> BatchTaker:
    return lambda run: [take(inbound) for inbound in run]
