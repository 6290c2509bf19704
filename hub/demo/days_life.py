"""What happens on each of the demo's days: the bills, those around midnight, and what is undone on a later day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import islice
from random import Random

import orjson
from sqlalchemy import Engine, text

from hub.demo.mixed import CONCURRENCY, Traffic
from hub.demo.mixed_day import MixedCase, MixedDay
from hub.demo.stage import DemoFailed, Stage
from routing.days import CHINA_STANDARD_TIME
from sandbox import parties
from sandbox.his_book import HospitalBook
from sandbox.parties_dialects import NATIONAL_REGION, RECORDED_REGION
from schemas.money import fen_of
from schemas.transactions import Transaction

MIDNIGHT_PERCENT = 15
LONELY_MAX, DOUBTFUL_MAX = 4, 3
WITH_MAILBOX = f"H{NATIONAL_REGION}00001"
"""This hospital fetches what it has not heard from its queue of the hub's own broker."""
SETTLE_DOWN_S_MAX = 90.0
_LEAD_S, _LEAD_S_PER_BILL = 240.0, 0.3
"""How long before midnight an evening begins, so that it is over when the last bills are sent, on a slow machine too;
what is left of it is skipped. Not much longer: the latest bills are of visits that end just before midnight, and none
may end in the future."""
_AROUND_MIDNIGHT_S = 2.0
_UNDER_WAY = text(
    "SELECT count(*) FROM settlement_leg l JOIN settlement_case c USING (case_id) "
    "WHERE c.purpose = 'settle' AND l.state IN ('planned', 'claimed', 'cancelling', 'reversing')"
)


@dataclass(slots=True)
class LivedDay:
    """One day's bills: `evening` before midnight, `midnight` around it, `tomorrow` what the next day undoes.

    Three kinds of the evening's go wrong where that is wanted, and are sent one by one then: `lonely` ones are of
    people with policies, `doubtful` ones stays of the city, `unheard` ones of a hospital that has a mailbox.
    """

    day: date
    evening: list[MixedCase]
    midnight: list[MixedCase]
    tomorrow: list[MixedCase] = field(default_factory=list)
    lonely: list[MixedCase] = field(default_factory=list)
    doubtful: list[MixedCase] = field(default_factory=list)
    unheard: list[MixedCase] = field(default_factory=list)

    @property
    def cases(self) -> list[MixedCase]:
        return [*self.evening, *self.midnight, *self.apart]

    @property
    def apart(self) -> list[MixedCase]:
        """What may go wrong by itself."""
        return [*self.lonely, *self.doubtful, *self.unheard]

    @property
    def begins(self) -> datetime:
        """When its evening begins: early enough to be over at midnight."""
        lead = timedelta(seconds=_LEAD_S + _LEAD_S_PER_BILL * len(self.evening))
        return midnight_after(self.day) - lead


def midnight_after(day: date) -> datetime:
    """The end of a day in China."""
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), CHINA_STANDARD_TIME)


def plan(days: Sequence[date], cases: int, seed: int) -> tuple[list[LivedDay], MixedDay]:
    """The days, and one whose `coverage()` holds everybody's policies. What the last day would undo later, stays."""
    drawn = [MixedDay(cases, day=day, seed=seed, people_of=days[0]) for day in days]
    return [_lived(one, last=one is drawn[-1]) for one in drawn], drawn[0]


def _lived(drawn: MixedDay, *, last: bool) -> LivedDay:
    bills = list(drawn)
    of_policies = [
        index
        for index, one in enumerate(bills)
        if one.undo is None and one.region != RECORDED_REGION and drawn.insured_with_taihe(one)
    ]
    lonely = sorted(of_policies, key=lambda index: -bills[index].case.total_fen)[:LONELY_MAX]
    doubtful, unheard = _doubtful(bills, lonely), _unheard(bills, lonely)
    apart = {*lonely, *doubtful, *unheard}
    # Any kind and region: the bills lie in order of kind.
    others = [index for index in range(len(bills)) if index not in apart]
    at_midnight = set(Random(drawn.seed).sample(others, len(bills) * MIDNIGHT_PERCENT // 100))
    later = [index for index, one in enumerate(bills) if one.undo is not None][::2]
    kept = [replace(one, undo=None) if index in later else one for index, one in enumerate(bills)]
    return LivedDay(
        drawn.day,
        evening=[one for index, one in enumerate(kept) if index not in at_midnight and index not in apart],
        midnight=[one for index, one in enumerate(kept) if index in at_midnight],
        tomorrow=[] if last else [bills[index] for index in later],
        lonely=[kept[index] for index in lonely],
        doubtful=[kept[index] for index in doubtful],
        unheard=[kept[index] for index in unheard],
    )


def _doubtful(bills: Sequence[MixedCase], taken: Sequence[int]) -> list[int]:
    """The city's largest stays: their critical-illness insurer is asked."""
    stays = [
        index
        for index, one in enumerate(bills)
        if index not in taken and one.undo is None and one.region == parties.REGION
        and one.case.visit_kind == "inpatient"
    ]  # fmt: skip
    return sorted(stays, key=lambda index: -bills[index].case.total_fen)[:DOUBTFUL_MAX]


def _unheard(bills: Sequence[MixedCase], taken: Sequence[int]) -> list[int]:
    """One bill of the hospital with the mailbox."""
    found = (
        index
        for index, one in enumerate(bills)
        if index not in taken and one.undo is None and one.case.institution == WITH_MAILBOX
    )
    return list(islice(found, 1))


class Living:
    """The hospitals at work. `advance` hears how many of the bills are settled."""

    def __init__(self, stage: Stage, engine: Engine, traffic: Traffic, book: HospitalBook) -> None:
        self._stage = stage
        self._engine = engine
        self._traffic = traffic
        self._book = book

    def settle(self, bills: Sequence[MixedCase], advance: Callable[[str, int], None]) -> None:
        """Several bills at a time, each with whatever follows it on its day."""
        with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="hospital") as workers:
            for number, done in enumerate(as_completed([workers.submit(self._traffic.live, one) for one in bills]), 1):
                done.result()
                self._stage.check()
                advance("settled", number)

    def settle_around(self, moment: datetime, now: Callable[[], datetime], bills: Sequence[MixedCase]) -> None:
        """One bill after the other, from shortly before a moment until after it."""
        each = _AROUND_MIDNIGHT_S / max(1, len(bills))
        with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="midnight") as workers:
            sent = []
            for number, one in enumerate(bills):
                at = moment + timedelta(seconds=each * (number + 0.5) - _AROUND_MIDNIGHT_S * 0.6)
                time.sleep(max(0.0, (at - now()).total_seconds()))
                sent.append(workers.submit(self._traffic.live, one))
            for done in sent:
                done.result()

    def settle_hastily(self, one: MixedCase, answer_by: datetime) -> None:
        """A bill whose hospital wants its answer by then, whatever is decided."""
        body = orjson.dumps(orjson.loads(one.settle.body) | {"answer_by": answer_by.isoformat()})
        self._traffic.live(replace(one, settle=replace(one.settle, body=body)))

    def settle_unheard(self, one: MixedCase) -> None:
        """A bill whose hospital never sees the answer."""
        for request in one.before:
            self._traffic.senders.say(one.way, request)
        self._traffic.unheard(one, self._traffic.senders.say(one.way, one.settle))

    def would_pay(self, one: MixedCase, payer: str) -> bool:
        """Whether a payer would take a share of a bill, by a trial."""
        request = one.settle
        trial = replace(request, transaction=Transaction.TRIAL.value, key=f"{request.key}-T9")
        answer = self._traffic.senders.say(one.way, trial).answer or {"shares": []}
        return any(share["payer"] == payer and fen_of(share["amount"]) > 0 for share in answer["shares"])

    def undo(self, bills: Sequence[MixedCase]) -> None:
        """What was settled on an earlier day, undone on this one."""
        for one in bills:
            if one.undo is not None:
                self._traffic.undo(one, one.undo)

    def settle_down(self, *, doubts: int = 0) -> None:
        """Wait until nothing is under way; `doubts` parts stay open on purpose. DemoFailed when it takes too long."""
        deadline = time.monotonic() + SETTLE_DOWN_S_MAX
        while True:
            for _ in self._traffic.senders.http.refresh():
                pass
            if not self._under_way() and len(self._book.open_cases()) <= doubts:
                return
            self._stage.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{len(self._book.open_cases())} settlements are open, {self._under_way()} under way")
            time.sleep(0.1)

    def wait_until_quiet(self) -> None:
        """Wait until no payer is being asked any more, whatever is in doubt then; DemoFailed when it takes too long."""
        deadline = time.monotonic() + SETTLE_DOWN_S_MAX
        while self._under_way():
            self._stage.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{self._under_way()} parts are under way")
            time.sleep(0.1)
        for _ in self._traffic.senders.http.refresh():
            pass

    def is_open(self, one: MixedCase) -> bool:
        """Whether the hospital has not heard the last of a bill."""
        told = self._book.told(one.case.institution, one.case.settlement_no)
        return told is not None and not told.final

    def _under_way(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(_UNDER_WAY).scalar_one())


def last_days(count: int, today: date) -> Iterator[date]:
    """So many days in a row, the last of them before `today`: they are over, and their statements are due."""
    for back in range(count, 0, -1):
        yield today - timedelta(days=back)
