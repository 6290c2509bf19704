"""Each safety mechanism switched off: the simulator must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

import hub.intake
import hub.outcomes
import hub.undo
import routing.life
import routing.postings
from hub.broker.transport import ACK
from hub.calls import Payer
from hub.outcomes import Asked
from hub.sweeps import CaseSweep, OutboxSweep
from routing.states import LegEvent, LegState
from simulation.stores import MemoryCases, MemoryExchanges, MemoryInbox, MemoryOutbox
from store.records import LegRecord

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """One mechanism less, how the simulator says so, and by which seed at the latest."""

    name: str
    switch_off: Callable[[Patch], None]
    noticed_as: tuple[str, ...]
    by_seed: int = 120
    from_seed: int = 1


def inbox_remembers_nothing(patch: Patch) -> None:
    patch.setattr(MemoryInbox, "take", lambda *_: set())


def settlement_numbers_may_repeat(patch: Patch) -> None:
    def insert_new(self: MemoryCases, connection: Any, new: Any) -> set[str]:
        for case in new:
            connection.transaction.remove("keys", (case.institution, case.case_key))
        return original(self, connection, new)

    original = MemoryCases.insert_new
    patch.setattr(MemoryCases, "insert_new", insert_new)


def contents_are_not_compared(patch: Patch) -> None:
    patch.setattr(hub.intake, "content_hash", lambda _: "the same")


def outbox_keeps_nothing(patch: Patch) -> None:
    original = MemoryOutbox.add

    def add(self: MemoryOutbox, connection: Any, messages: Any, queue_of: Any = None) -> list[Any]:
        stored = original(self, connection, messages, queue_of)
        for message in stored:
            connection.transaction.remove("outbox", message.outbox_id)
        return stored

    patch.setattr(MemoryOutbox, "add", add)


def outbox_is_not_swept(patch: Patch) -> None:
    patch.setattr(OutboxSweep, "__call__", lambda _: 0)


def cases_are_not_swept(patch: Patch) -> None:
    patch.setattr(CaseSweep, "__call__", lambda _: 0)


def reversals_leave_no_tombstone(patch: Patch) -> None:
    patch.setattr(hub.undo.Undo, "_bury_unborn", lambda *_: False)


def one_not_found_is_enough(patch: Patch) -> None:
    def counts_from(now: Any, sent_at: Any, _since: Any, window_s: float) -> Any:
        due = (sent_at or now) + timedelta(seconds=window_s)
        return None if now >= due else due

    patch.setattr(hub.outcomes, "not_found_counts_from", counts_from)


def settle_window_is_ignored(patch: Patch) -> None:
    patch.setattr(hub.outcomes, "not_found_counts_from", lambda _now, _sent, since, _window: None if since else _now)


def not_found_is_believed_at_once(patch: Patch) -> None:
    patch.setattr(hub.outcomes, "not_found_counts_from", lambda *_: None)


def rows_are_not_locked(patch: Patch) -> None:
    patch.setattr(MemoryCases, "locking", False)


def rows_are_neither_locked_nor_fenced(patch: Patch) -> None:
    rows_are_not_locked(patch)
    patch.setattr(MemoryCases, "fenced", False)


def repeats_get_a_new_id(patch: Patch) -> None:
    patch.setattr(
        LegRecord, "request_id", property(lambda leg: f"{leg.case_id.replace('-', '')}-{leg.leg_no}{leg.attempts % 10}")
    )


def every_payer_is_asked_again(patch: Patch) -> None:
    patch.setattr(Payer, "can", property(lambda payer: replace(payer.adapter.capabilities, idempotent_submit=True)))


def undone_in_the_order_of_the_plan(patch: Patch) -> None:
    patch.setattr(routing.life, "reversed", list, raising=False)


def late_approvals_always_stand(patch: Patch) -> None:
    def apply_outcome(case: Any, leg: Any, done: Any, asked: Asked, now: Any) -> Any:
        party = asked.party.model_copy(update={"late_approval": "keep"})
        return original(case, leg, done, Asked(party, asked.can), now)

    original = hub.outcomes.apply_outcome
    patch.setattr("hub.applier.apply_outcome", apply_outcome)


def late_words_are_not_heard(patch: Patch) -> None:
    def awaits(case: Any, leg: LegRecord, can: Any) -> bool:
        return leg.state is not LegState.DEFERRED and original(case, leg, can)

    original = hub.outcomes._awaits_word
    patch.setattr(hub.outcomes, "_awaits_word", awaits)


def amounts_are_not_checked(patch: Patch) -> None:
    patch.setattr(hub.outcomes, "adds_up", lambda *_: True)


def requests_are_not_kept_before_they_leave(patch: Patch) -> None:
    original = MemoryExchanges.add

    def add(self: MemoryExchanges, connection: Any, new: Any) -> None:
        original(self, connection, [one for one in new if one.direction == "in"])

    patch.setattr(MemoryExchanges, "add", add)


def doubt_counts_as_a_no(patch: Patch) -> None:
    def lost(_case: Any, leg: LegRecord, *_: Any) -> Any:
        if leg.state in (LegState.CLAIMED, LegState.IN_DOUBT):
            leg.apply(LegEvent.DECLINE)
        return ACK

    patch.setattr(hub.outcomes, "_apply_lost", lost)


def doubts_are_forgotten_by_an_undo(patch: Patch) -> None:
    original = routing.life._next_undo

    def next_undo(case: Any) -> Any:
        step = original(case)
        if isinstance(step, routing.life.Reverse):
            return routing.life.Finish(routing.life.CaseState.CANCELLED)
        return step

    patch.setattr(routing.life, "_next_undo", next_undo)


def effects_are_not_booked(patch: Patch) -> None:
    patch.setattr(MemoryCases, "booking", False)


def undos_are_not_mirrored(patch: Patch) -> None:
    patch.setattr(routing.postings, "_taken_back", lambda _case, _leg: [])


MUTATIONS = (
    Mutation("inbox", inbox_remembers_nothing, ("I12 id reused",)),
    Mutation("settlement number", settlement_numbers_may_repeat, ("I1 two cases",)),
    Mutation("content hash", contents_are_not_compared, ("I10 other content",)),
    Mutation("outbox rows", outbox_keeps_nothing, ("I5 unanswered",)),
    Mutation("outbox sweep", outbox_is_not_swept, ("I13 outbox",)),
    Mutation("case sweep", cases_are_not_swept, ("endless", "I5")),
    Mutation("tombstone", reversals_leave_no_tombstone, ("I11 no tombstone",)),
    Mutation("second ask", one_not_found_is_enough, ("I6 lost",), by_seed=220, from_seed=150),
    Mutation("settle window", settle_window_is_ignored, ("I6 lost",), by_seed=550, from_seed=500),
    Mutation("not found", not_found_is_believed_at_once, ("I6 lost",)),
    Mutation("locks and fence", rows_are_neither_locked_nor_fenced, ("I9", "I10", "I2", "I6", "bug")),
    Mutation("request id", repeats_get_a_new_id, ("I7 new id", "I2", "I6")),
    Mutation("idempotent only", every_payer_is_asked_again, ("I2 doubled",)),
    Mutation("order of undo", undone_in_the_order_of_the_plan, ("order of undo",)),
    Mutation("late approval", late_approvals_always_stand, ("late approval",)),
    Mutation("late word", late_words_are_not_heard, ("I6 lost",)),
    Mutation("amounts", amounts_are_not_checked, ("bug", "I3", "I6 wrong fen")),
    Mutation("request kept", requests_are_not_kept_before_they_leave, ("I8 not committed",)),
    Mutation("doubt", doubt_counts_as_a_no, ("I6 lost",)),
    Mutation("ledger", effects_are_not_booked, ("I4 ledger",)),
    Mutation("mirror of an undo", undos_are_not_mirrored, ("I4 ledger",)),
    Mutation("undo of a doubt", doubts_are_forgotten_by_an_undo, ("I9 ended open",)),
)
