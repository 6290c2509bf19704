"""The desk: every message of a party, from whatever channel, comes in here and goes where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hub.claims import ClaimAnswers
from hub.inbound import Inbound, Taken
from hub.intake import Intake
from hub.undo import Queries, Undo
from schemas.transactions import Transaction


class Desk:
    """Dispatches batches by transaction; sets stay sets where that saves round trips."""

    def __init__(self, intake: Intake, undo: Undo, queries: Queries, claims: ClaimAnswers) -> None:
        self._batched: dict[Transaction, Callable[[Sequence[Inbound]], list[Taken]]] = {
            Transaction.SETTLE: intake.take,
            Transaction.TRIAL: intake.take,
            Transaction.CLAIM_ANSWER: claims.take,
        }
        self._single: dict[Transaction, Callable[[Inbound], Taken]] = {
            Transaction.CANCEL: undo.take,
            Transaction.QUERY: queries.take,
        }

    def take(self, batch: Sequence[Inbound]) -> list[Taken]:
        """One result per message, in order. Raises only when the database is away; repeating the batch is harmless."""
        results: list[Taken | None] = [None] * len(batch)
        groups: dict[Callable[[Sequence[Inbound]], list[Taken]], list[int]] = {}
        for index, inbound in enumerate(batch):
            if inbound.transaction in self._single:
                results[index] = self._single[inbound.transaction](inbound)
            else:
                groups.setdefault(self._batched[inbound.transaction], []).append(index)
        for take, indices in groups.items():
            for index, taken in zip(indices, take([batch[index] for index in indices]), strict=True):
                results[index] = taken
        return [taken for taken in results if taken is not None]
