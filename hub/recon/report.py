"""The report of a day: what every party's books came to beside ours, what differs and since when, what is sealed.

Plain values, built in one reading transaction; `report_html` and `report_excel` only show them. Whole fen. Lists have
an end; whoever is cut off learns how many more there are and the command that lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from adapters.registry import HOSTED
from routing.days import day_of
from routing.postings import Account
from routing.rulebook import RuleBook
from schemas.statement import EXPLAINED, BreakClass
from store import ledger, recon_reports
from store.doubts import payers_on
from store.recon_reports import (
    STATES,
    BreakCount,
    LateEntry,
    LateTotal,
    ListedBreak,
    Resolution,
    Run,
    Seal,
    StatementHead,
)

BREAKS_MAX = 200
"""Breaks that a report lists. The command for the rest stands below them."""
LATE_MAX = 100
BALANCES_MAX = 500
STATEMENTS_MAX = 2_000
READ_S_MAX = 120.0
AGES = ((0, "0"), (1, "1"), (3, "2-3"), (7, "4-7"), (10**6, "8+"))
"""Upper bound in days and name of each bracket of ages."""
SIDES = ("hub", "payer", "hospital")


@dataclass(frozen=True, slots=True)
class Side:
    """What one side's books of the day come to; refunds below zero."""

    settlements: int = 0
    refunds: int = 0
    settled_fen: int = 0
    refunded_fen: int = 0
    account_fen: int = 0

    @property
    def net_fen(self) -> int:
        """What stands after the refunds."""
        return self.settled_fen + self.refunded_fen


@dataclass(frozen=True, slots=True)
class PartyDay:
    """One party and scheme on this day. `run` None: not compared."""

    party: str
    name: str
    kind: str
    """basic, insurer or institution."""
    scheme: str
    run: Run | None
    sides: Mapping[str, Side]
    finding: str
    """What the run found as a whole, such as a statement that has not come; empty for nothing."""
    states: Mapping[str, int]
    """Breaks by state."""
    open_fen: int
    """The sum of the differences that are open."""
    note: str = ""
    """What the comparison cannot show, by the way in which the books came; empty for nothing."""

    @property
    def agrees(self) -> bool:
        """Whether it was compared whole and nothing is left to see to."""
        compared = self.run is not None and self.run.state in ("done", "signed_off") and not self.finding
        return compared and not (self.states.get("open") or self.states.get("waiting"))


@dataclass(frozen=True, slots=True)
class ClassRow:
    """Breaks of one class: how many by state, and how many of the open ones by age."""

    break_class: BreakClass
    states: Mapping[str, int]
    ages: Mapping[str, int]
    open_fen: int

    @property
    def explains_itself(self) -> bool:
        return self.break_class in EXPLAINED


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """A payer at an institution, up to the end of the day: what was advanced, and what became of it."""

    payer: str
    institution: str
    day_fen: int
    """Advanced by the entries of this day alone."""
    advanced_fen: int
    settled_fen: int
    to_be_settled_fen: int
    deducted_fen: int
    written_off_fen: int


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What the day's entries come to: bills, and who bears them."""

    cases: int
    bills_fen: int
    payers_fen: int
    account_fen: int
    hospital_fen: int
    cash_fen: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page and the workbook show."""

    day: date
    made_at: datetime
    totals: DayTotals
    parties: Sequence[PartyDay]
    not_run: Sequence[str]
    """Payers with entries on this day, or a doubt of it, that were not compared."""
    classes: Sequence[ClassRow]
    resolution: Resolution
    breaks: Sequence[ListedBreak]
    breaks_total: int
    statements: Sequence[StatementHead]
    late: Sequence[LateEntry]
    late_totals: Sequence[LateTotal]
    balances: Sequence[BalanceRow]
    balances_more: int
    seal: Seal | None

    @property
    def count(self) -> Counter[str]:
        """Breaks by state, of all parties."""
        return sum((Counter(one.states) for one in self.parties), Counter[str]())

    @property
    def late_more(self) -> int:
        """Late entries that are not listed."""
        return sum(one.count for one in self.late_totals) - len(self.late)

    @property
    def clean(self) -> bool:
        """Whether every comparison was made and none has a break that waits for somebody."""
        return bool(self.parties) and not self.not_run and all(one.agrees for one in self.parties)

    @property
    def list_command(self) -> str:
        """Lists every break that waits for somebody."""
        return f"hub recon breaks --day {self.day} --state open"


def read_report(
    connection: Connection, book: RuleBook, day: date, now: datetime, *, breaks_max: int = BREAKS_MAX
) -> Report:
    """The report of `day` as everything stands at `now`, read in one view of the database."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    connection.execute(text(f"SET LOCAL statement_timeout = {int(READ_S_MAX * 1000)}"))
    for method in ("seqscan", "hashjoin", "mergejoin"):
        connection.execute(text(f"SET LOCAL enable_{method} = on"))
    counts = recon_reports.break_counts(connection, day, day_of(now))
    runs = recon_reports.runs(connection, day)
    of_day = ledger.balances(connection, ["payer", "institution"], first=day, last=day)
    waiting = ("open", "waiting")
    balances = _balances(connection, day, of_day)
    return Report(
        day=day,
        made_at=now,
        totals=_day_totals(of_day),
        parties=_parties(runs, counts, book),
        not_run=sorted(_payers_of(connection, book, day, of_day) - {run.party for run in runs}),
        classes=_classes(counts),
        resolution=recon_reports.resolution(connection, day),
        breaks=recon_reports.breaks(connection, day=day, states=waiting, limit=breaks_max),
        breaks_total=recon_reports.breaks_total(connection, day=day, states=waiting),
        statements=recon_reports.statements(connection, day, limit=STATEMENTS_MAX),
        late=recon_reports.late_entries(connection, day, LATE_MAX),
        late_totals=recon_reports.late_totals(connection, day),
        balances=balances[:BALANCES_MAX],
        balances_more=max(0, len(balances) - BALANCES_MAX),
        seal=recon_reports.seal(connection, day),
    )


def _parties(runs: Sequence[Run], counts: Sequence[BreakCount], book: RuleBook) -> list[PartyDay]:
    """Payers first, the basic system before the insurers, as bills go."""
    made = [_party(run, counts, book) for run in runs]
    order = {"basic": 0, "insurer": 1}
    return sorted(made, key=lambda one: (order.get(one.kind, 2), one.party, one.scheme))


def _party(run: Run, counts: Sequence[BreakCount], book: RuleBook) -> PartyDay:
    name, kind = name_of(book, run.party)
    mine = [one for one in counts if (one.party, one.scheme) == (run.party, run.scheme)]
    states: Counter[str] = Counter()
    for one in mine:
        states[one.state] += one.count
    return PartyDay(
        party=run.party,
        name=name,
        kind=kind,
        scheme=run.scheme,
        run=run,
        sides=sides_of(run.totals),
        finding=finding_of(run),
        states={state: states[state] for state in STATES if states[state]},
        open_fen=sum(one.difference_fen for one in mine if one.state in ("open", "waiting")),
        note=str(run.totals.get("note") or ""),
    )


def name_of(book: RuleBook, code: str) -> tuple[str, str]:
    """What a party is called, and its kind; its code where the rule book in force does not know it any more."""
    if code in book.party_by_code:
        party = book.party_by_code[code]
        same = party.name.zh == party.name.en
        return (party.name.zh if same else f"{party.name.zh} {party.name.en}"), party.kind
    if code in book.institution_by_code:
        return book.institution_by_code[code].name, "institution"
    return code, "institution"


def sides_of(totals: Mapping[str, Any]) -> dict[str, Side]:
    """The sides of a run's totals that were compared."""
    return {side: _side(totals[side]) for side in SIDES if totals.get(side) is not None}


def _side(found: Any) -> Side:
    names = Side.__dataclass_fields__
    if isinstance(found, Mapping):
        return Side(**{name: int(found.get(name) or 0) for name in names})
    return Side(*(int(one or 0) for one in found))


def finding_of(run: Run) -> str:
    """What a run says of itself beside its breaks."""
    if run.state == "failed":
        return run.failure or "the run failed"
    return str(run.totals.get("finding") or "")


def _payers_of(connection: Connection, book: RuleBook, day: date, of_day: Sequence[ledger.Balance]) -> set[str]:
    """Payers whose books have something of this day, or may have; what the hub adjudicates is in ours only."""
    hosted = {one.code for one in book.parties if one.adapter == HOSTED}
    in_doubt = {payer for _, payer in payers_on(connection, [day])}
    return ({one.key[0] for one in of_day if one.key[0]} | in_doubt) - hosted


def _classes(counts: Sequence[BreakCount]) -> list[ClassRow]:
    rows = []
    for break_class in BreakClass:
        mine = [one for one in counts if one.break_class == break_class]
        if not mine:
            continue
        states, ages = Counter[str](), Counter[str]()
        for one in mine:
            states[one.state] += one.count
            if one.state in ("open", "waiting"):
                ages[_age(one.age_days)] += one.count
        fen = sum(one.difference_fen for one in mine if one.state in ("open", "waiting"))
        rows.append(ClassRow(break_class, dict(states), dict(ages), fen))
    return rows


def _age(days: int) -> str:
    return next(name for limit, name in AGES if days <= limit)


def _day_totals(of_day: Sequence[ledger.Balance]) -> DayTotals:
    fen = Counter[Account]()
    for one in of_day:
        fen.update(one.balances)
    return DayTotals(
        cases=sum(one.cases for one in of_day),
        bills_fen=-fen[Account.CHARGES],
        payers_fen=_advanced(fen),
        account_fen=fen[Account.PERSONAL],
        hospital_fen=fen[Account.HOSPITAL],
        cash_fen=fen[Account.PATIENT],
    )


def _advanced(balances: Mapping[Account, int]) -> int:
    """What payers took over, whatever became of it since: owed, on its way, paid, refused by an audit, written off."""
    after = (Account.RECEIVABLE, Account.IN_TRANSIT, Account.BANK, Account.DEDUCTED, Account.DIFFERENCE)
    return sum(balances.get(account, 0) for account in after)


def _balances(connection: Connection, day: date, of_day: Sequence[ledger.Balance]) -> list[BalanceRow]:
    today = {one.key: _advanced(one.balances) for one in of_day}
    rows = []
    for one in ledger.balances(connection, ["payer", "institution"], last=day):
        payer, institution = one.key
        if payer:
            rows.append(_balance(payer, institution, today.get(one.key, 0), one.balances))
    return sorted(rows, key=lambda row: (row.payer, row.institution))


def _balance(payer: str, institution: str, day_fen: int, fen: Mapping[Account, int]) -> BalanceRow:
    return BalanceRow(
        payer=payer,
        institution=institution,
        day_fen=day_fen,
        advanced_fen=_advanced(fen),
        settled_fen=fen[Account.BANK],
        to_be_settled_fen=fen[Account.RECEIVABLE] + fen[Account.IN_TRANSIT],
        deducted_fen=fen[Account.DEDUCTED],
        written_off_fen=fen[Account.DIFFERENCE],
    )


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON-ready values; amounts in whole fen, moments and days as themselves."""
    return {
        **asdict(report),
        "clean": report.clean,
        "breaks_by_state": {state: report.count[state] for state in STATES},
        "parties": [{**asdict(one), "agrees": one.agrees} for one in report.parties],
        "late_more": report.late_more,
        "list_command": report.list_command,
    }
