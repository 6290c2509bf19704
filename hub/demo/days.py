"""Several days from their bills to their seals, and the month that pays them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import SecretStr
from sqlalchemy import Engine

from hub.books import RuleBooks
from hub.bootstrap import broker_topology
from hub.demo import days_clock, days_faults, mixed
from hub.demo.days_clock import DemoClock
from hub.demo.days_close import LEFT, ClosedDay, Closing, Found, hosted_by_us
from hub.demo.days_evening import Early, Evening, hourly_look
from hub.demo.days_faults import Compared, Expected, Misdeeds
from hub.demo.days_life import WITH_MAILBOX, LivedDay, Living, last_days, midnight_after, plan
from hub.demo.days_month import Month, PaidMonth
from hub.demo.days_statements import Statements, schemes
from hub.demo.mixed import CONCURRENCY, Traffic
from hub.demo.mixed_day import MixedCase, mixed_rule_book
from hub.demo.mixed_ways import Senders
from hub.demo.run import demo_database, demo_folder, tell_where_the_logs_are
from hub.demo.samples import yesterday
from hub.demo.screen import Screen
from hub.demo.stage import PARTY_SECRETS, Stage, sandbox_addresses, staged, start_hub, start_sandbox
from hub.people.office import NoTransport, Office, open_office
from hub.recon.askable import payers_of
from hub.recon.runs import Runs
from hub.settings import Settings
from hub.work import WorkUnits
from routing.days import CHINA_STANDARD_TIME, day_of
from sandbox.his_book import HospitalBook
from store import invariants, seal_checks
from store.invariants import INVARIANTS

OFFICE_OPENS = time(9, 30)
"""When a day's statements have come and its books are closed: the next morning."""
FRESH = timedelta(seconds=20)
"""A hub that was started so lately goes by the clock already."""
CLOCK_LOOK_S = 0.5
BEFORE_MIDNIGHT = timedelta(seconds=2)
"""Where the clock goes on when an evening is over."""
VERIFY_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class DaysOptions:
    """What is asked for: so many days of so many bills; with `faults` some of everything goes wrong on purpose."""

    days: int = 3
    cases: int = 60
    seed: int = 20
    faults: bool = False
    keep: Path | None = None


@dataclass(slots=True)
class DaysReport:
    """Everything about the days."""

    cases: int
    cancels: int
    statuses: dict[str, int]
    troubles: list[str]
    days: list[ClosedDay]
    found: list[Found]
    compared: Compared
    month: PaidMonth
    broken: list[str]
    """What `hub verify` finds: invariants that do not hold, and rows that are not as they were sealed."""
    actions: int
    alone: int
    """Of the acts of people those that need no second one, since they move no money."""
    faults: bool
    early: list[Early] = field(default_factory=list)
    """What went wrong and was over before anybody compared."""
    folder: str = ""

    @property
    def open(self) -> list[Found]:
        """Breaks that nobody has seen to."""
        return [one for one in self.found if not one.explains_itself and not one.how]

    @property
    def good(self) -> bool:
        """Every day is sealed, what was found is what was done, everything is paid, and nothing is broken."""
        sealed = all(one.seal is not None for one in self.days)
        exact = self.compared.exact and all(one.ended for one in self.early)
        return sealed and exact and self.month.paid and not (self.open or self.troubles or self.broken)


class HubAtWork(Protocol):
    """A hub that goes by the demo's clock."""

    notices_within: timedelta
    """How long it may take to notice that the clock was set."""

    def start(self) -> None: ...

    def notice(self, change: Callable[[], None]) -> None:
        """Have the clock set, and wait until the hub goes by it."""
        ...

    def stop(self) -> None: ...


class HubProcess:
    """The hub as a process of its own, which looks at its database's clock every CLOCK_LOOK_S."""

    notices_within = timedelta(seconds=2)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def start(self) -> None:
        start_hub(self._stage)

    def notice(self, change: Callable[[], None]) -> None:
        said = self._said()
        change()
        self._stage.wait("hub", lambda: self._said() > said)

    def stop(self) -> None:
        self._stage.stop("hub")

    def _said(self) -> int:
        """How often it has said that the clock jumped."""
        return self._stage.log("hub").read_bytes().count(b'"clock_jumped"')


@dataclass(slots=True)
class World:
    """What runs and what is known while the days go by."""

    stage: Stage
    hub: HubAtWork
    engine: Engine
    clock: DemoClock
    traffic: Traffic
    living: Living
    screen: Screen
    evening: Evening | None = None
    """Where things go wrong."""

    def wake(self, moment: datetime) -> None:
        """Let it be `moment`, and the hub at work and aware of it."""
        self.hub.notice(lambda: self.clock.set(moment))


def run_days_demo(options: DaysOptions, screen: Screen) -> DaysReport:
    """Live the days, close them, pay the month. Raises DemoFailed when something does not start or is refused."""
    with demo_folder(options.keep) as folder:
        try:
            with staged(folder, "") as stage:
                stage.dialects = True
                # People close these days, at half past nine.
                stage.own_settings = {"HUB_RECON_EVERY_S": "0", "HUB_CLOCK_LOOK_S": str(CLOCK_LOOK_S)}
                mixed.write_secrets(stage)
                screen.say("starting the payers, one for each dialect, and the database")
                start_sandbox(stage)
                with demo_database(folder, days_clock.set_up) as engine:
                    told = sandbox_addresses(stage)
                    report = live(stage, HubProcess(stage), engine, told, options, screen)
            if not report.good:
                tell_where_the_logs_are(folder, options.keep, screen)
            return report
        except Exception:
            tell_where_the_logs_are(folder, options.keep, screen)
            raise


def live(
    stage: Stage, hub: HubAtWork, engine: Engine, told: Mapping[str, Any], options: DaysOptions, screen: Screen
) -> DaysReport:
    """The days in a world whose parties (`told`: their addresses) and database run; the hub is started and stopped."""
    lived, people = plan(list(last_days(options.days, yesterday() + timedelta(days=1))), options.cases, options.seed)
    clock = DemoClock(engine, told["control"])
    mixed.prepare(stage, engine, rule_book(told["endpoints"]), people.coverage(), lived[0].begins)
    book = HospitalBook(stage.folder / "hospitals.sqlite3")
    senders = Senders(stage.hub_url, book, CONCURRENCY)
    traffic = Traffic(senders)
    world = World(stage, hub, engine, clock, traffic, Living(stage, engine, traffic, book), screen)
    try:
        screen.say("starting the hub")
        clock.set(lived[0].begins)
        hub.start()
        with _closing(world, told["control"], book, lived, options) as (closing, office):
            for number, one in enumerate(lived):
                _one_day(world, closing, one, number, last=number == len(lived) - 1)
            return _finish(world, closing, office, book, options, str(options.keep or ""))
    finally:
        senders.close()
        book.close()
        hub.stop()  # before its database


def rule_book(endpoints: Mapping[str, str]) -> str:
    """The rule book of the mixed day, with the ways in which its parties' books are compared."""
    content = yaml.safe_load(mixed_rule_book(endpoints))
    content["reconciliation"] = schemes()
    for institution in content["institutions"]:
        institution["amqp"] = institution["code"] == WITH_MAILBOX
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=120)


@contextlib.contextmanager
def _closing(
    world: World, control: Mapping[str, str], book: HospitalBook, lived: Sequence[LivedDay], options: DaysOptions
) -> Iterator[tuple[Closing, Office]]:
    """The people's office with everything that they need to close days."""
    stage, engine, clock = world.stage, world.engine, world.clock
    books = RuleBooks(engine, clock)
    active = books.active().book
    layout = broker_topology(active)
    work_units = WorkUnits(engine, NoTransport(), layout.resolve)
    office = open_office(work_units, clock, lambda: layout, lambda: active.party_by_code)
    statements_folder = stage.folder / "statements"
    statements_folder.mkdir(exist_ok=True)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = Settings(
        party_secrets=str(stage.folder / PARTY_SECRETS),
        person_key_secret=SecretStr(stage.environment()["HUB_PERSON_KEY_SECRET"]),
    )
    with payers_of(settings, url, books, clock) as payer_of:
        statements = Statements(
            engine, books, clock, payer_of, control, world.traffic.senders, stage.hub_url, book, statements_folder,
            [one for day in lived for one in day.cases], {},
        )  # fmt: skip
        script = days_faults.script([one.day for one in lived]) if options.faults else {}
        for party, faults in script.items():
            statements.spoil(party, faults)
        hosted = hosted_by_us((one.code, one.adapter) for one in active.parties)
        closing = Closing(
            engine, Runs(engine, books, clock), statements, office.actions, world.living.settle_down, script, hosted
        )
        if options.faults:
            look = hourly_look(engine, work_units, books, clock, payer_of, hosted)
            world.evening = Evening(engine, clock, world.living, Misdeeds(control), look)
        yield closing, office


def _one_day(world: World, closing: Closing, lived: LivedDay, number: int, *, last: bool) -> None:
    """From an evening's bills to the morning after."""
    screen, day = world.screen, lived.day
    if not timedelta(0) <= world.clock.now() - lived.begins < FRESH:
        world.wake(lived.begins)
    wrong = world.evening
    evening = lived.evening if wrong else [*lived.evening, *lived.apart]
    if wrong and number:
        evening = [*evening, *lived.doubtful, *lived.unheard]
    around = len(lived.midnight)
    screen.say(f"{day}: settling {len(evening) + around} bills in four regions, {around} of them around midnight")
    with screen.counting(len(evening)) as advance:
        world.living.settle(evening, advance)
    world.living.settle_down(doubts=len(wrong.held_back) if wrong else 0)
    held_back: list[MixedCase] = wrong.held_back if wrong else []
    if wrong is not None:
        wrong.go_wrong(lived, first=not number)
    soon = midnight_after(day) - world.hub.notices_within - BEFORE_MIDNIGHT
    if world.clock.now() < soon:
        world.wake(soon)
    world.living.settle_around(midnight_after(day), world.clock.now, lived.midnight)
    world.living.settle_down(doubts=len(held_back))
    world.wake(datetime.combine(day + timedelta(days=1), OFFICE_OPENS, CHINA_STANDARD_TIME))
    screen.say(f"{day + timedelta(days=1)} {OFFICE_OPENS:%H:%M}: statements, comparison, remedies, signatures")
    world.living.undo(lived.tomorrow)
    world.living.settle_down(doubts=len(held_back))
    closing.morning(day, last=last)
    if wrong is not None:
        wrong.answer_again()
    sealed = [str(one.day) for one in closing.days.values() if one.seal is not None]
    screen.say(f"sealed so far: {', '.join(sealed) or 'nothing'}")


def _finish(
    world: World, closing: Closing, office: Office, book: HospitalBook, options: DaysOptions, folder: str
) -> DaysReport:
    world.screen.say("the month: applications, audit, orders, payment files, confirmations")
    active = closing.statements.book_in_force
    regions = {one.code: one.region for one in active.institutions}
    month = Month(world.engine, office.actions, world.traffic.senders, book, regions, lambda: day_of(world.clock.now()))
    left = [one for one in closing.everything if one.how == LEFT]
    paid = month.settle([day for day in closing.days if closing.days[day].seal], left)
    world.screen.say("verifying everything")
    expected: list[Expected] = list(days_faults.expected_of(closing.statements.injected()))
    expected += world.evening.misdeeds.done if world.evening else []
    tally = world.traffic.tally
    return DaysReport(
        cases=tally.cases,
        cancels=tally.cancels,
        statuses=dict(tally.statuses),
        troubles=tally.troubles,
        days=list(closing.days.values()),
        found=closing.everything,
        compared=days_faults.compare(expected, closing.found, closing.later.values()),
        month=paid,
        broken=list(_broken(world.engine)),
        actions=closing.actions_made,
        alone=closing.made_alone,
        faults=options.faults,
        early=world.evening.early if world.evening else [],
        folder=folder,
    )


def _broken(engine: Engine) -> Iterator[str]:
    """What `hub verify` would find."""
    for one in INVARIANTS:
        with engine.connect() as connection:
            invariants.prepare(connection, VERIFY_S_MAX)
            if rows := invariants.broken(connection, one, None):
                yield f"{one.code}: {len(rows)} rows, such as {rows[0].subject} ({rows[0].detail})"
    with engine.connect() as connection:
        yield from (f"{one.subject}: {one.detail}" for one in seal_checks.faults(connection))
