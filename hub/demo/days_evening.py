"""What goes wrong in an evening for real, and the hub's hourly look that ends a part of it before anybody compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import Engine, text

from hub.books import RuleBooks
from hub.calls import Payer
from hub.demo.days_close import Item
from hub.demo.days_faults import CONTRADICTS, LOSES_ANSWERS, Misdeeds
from hub.demo.days_life import LivedDay, Living
from hub.demo.mixed_day import MixedCase
from hub.ports import Clock
from hub.recon.continuous import Continuous, Means
from hub.recon.pulling import Pulling
from hub.recon.runs import Runs
from hub.work import WorkUnits

HASTE = timedelta(seconds=4)
"""How long a hospital waits for an answer of which a part is missing."""
EVERY_S = 3600.0
_STANDS = text("""
    SELECT l.state = 'approved' FROM settlement_leg l JOIN settlement_case c USING (case_id)
    WHERE l.payer = :party AND c.institution = :institution AND c.case_key = :settlement_no""")


@dataclass(slots=True)
class Early:
    """Something that went wrong and was over before the day was compared. `ended` once it is."""

    item: Item
    what: str
    ended: bool = False


def hourly_look(
    engine: Engine,
    work_units: WorkUnits,
    books: RuleBooks,
    clock: Clock,
    payer_of: Callable[[str], Payer],
    hosted: Iterable[str],
) -> Continuous:
    """What a relay does every hour, to be done when it is wanted."""
    codes = set(books.active().book.party_by_code) - set(hosted)
    pulling = Pulling(engine, books, clock, payer_of)
    means = Means(
        engine, work_units, books, clock, {code: payer_of(code) for code in sorted(codes)}, Runs(engine, books, clock),
        pulling, pulling.glance,
    )  # fmt: skip
    return Continuous(means, every_s=EVERY_S)


@dataclass(slots=True)
class Evening:
    """The end of each day, with faults. `look` is the hourly one."""

    engine: Engine
    clock: Clock
    living: Living
    misdeeds: Misdeeds
    look: Continuous
    held_back: list[MixedCase] = field(default_factory=list)
    """Settlements of which a part stays in doubt over the night."""
    early: list[Early] = field(default_factory=list)

    def go_wrong(self, lived: LivedDay, *, first: bool) -> None:
        """An undo by hand, an answer that is lost; on the first day also one that a hospital misses, and one that
        contradicts itself, which the hourly look ends."""
        self.misdeeds.undo_by_hand(lived)
        self._lose_an_answer(lived)
        if first:
            self._miss_an_answer(lived)
            self._contradict(lived)

    def answer_again(self) -> None:
        """From the morning on nothing is lost any more; what people could not end stays open."""
        self.misdeeds.answer_again()
        self.living.wait_until_quiet()
        self.held_back[:] = [one for one in self.held_back if self.living.is_open(one)]

    def _lose_an_answer(self, lived: LivedDay) -> None:
        """The first bill of which the payer would take a share is sent, and the payer's answer is lost."""
        for one in self._payable(lived.lonely, LOSES_ANSWERS):
            self.misdeeds.lose_the_next_answer()
            self._settle_hastily(one)
            lost = self.misdeeds.was_lost(_item(LOSES_ANSWERS, lived.day, one))
            self.misdeeds.answer_again()
            if self.living.is_open(one):  # also where what was lost is a refusal
                self.held_back.append(one)
            if lost:
                return

    def _miss_an_answer(self, lived: LivedDay) -> None:
        """A hospital's computer goes down before it has written its answer down."""
        for one in lived.unheard[:1]:
            self.living.settle_unheard(one)
            self.misdeeds.missed(_item(one.case.institution, lived.day, one))

    def _contradict(self, lived: LivedDay) -> None:
        """A payer books a share and answers with more than was left; the hourly look asks what it has booked."""
        for one in self._payable(lived.doubtful, CONTRADICTS):
            self.misdeeds.contradict_itself()
            self._settle_hastily(one)
            self.misdeeds.answer_again()
            item = _item(CONTRADICTS, lived.day, one)
            if not self.misdeeds.stands_at(item):
                continue
            self.look.make_pass()
            self.living.settle_down(doubts=len(self.held_back))
            with self.engine.connect() as connection:
                stands = connection.execute(
                    _STANDS,
                    {"party": item.party, "institution": item.institution, "settlement_no": item.settlement_no},
                ).scalar()
            self.early.append(Early(item, "answer contradicts itself", bool(stands)))
            return

    def _payable(self, bills: Sequence[MixedCase], payer: str) -> Iterable[MixedCase]:
        return (one for one in bills if self.living.would_pay(one, payer))

    def _settle_hastily(self, one: MixedCase) -> None:
        self.living.settle_hastily(one, self.clock.now() + HASTE)
        self.living.wait_until_quiet()  # on a slow machine its last payer is asked when the hospital has its answer


def _item(party: str, day: date, one: MixedCase) -> Item:
    return Item(party, day, one.case.institution, one.case.settlement_no)
