"""What ends a break: proposed, asked for, agreed by a second person, carried out, and followed to its effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from adapters.registry import ADAPTERS
from hub.people.actions import Actions
from hub.people.recon import dry_run
from hub.recon.continuous import tell
from hub.recon.outgoing import export
from hub.recon.remedies import propose
from hub.recon.remedies_apply import Decision, detail_of
from hub.recon.runs import RunResult, Runs
from hub.recon.statements import take_file, take_statement
from hub.recon.writers import Form
from routing.days import day_of
from routing.postings import Account, Kind
from routing.states import CaseState, LegState
from schemas.errors import Conflict, Forbidden, InvalidMessage
from schemas.money import fen_of, yuan_of
from schemas.payer import Capabilities
from schemas.statement import BreakClass, Remedy, Statement
from store import breaks, incidents, invariants, ledger, seal_checks, seals, signing
from store.database import open_engine
from store.invariants import INVARIANTS
from store.ledger import Entry
from tests.support.builders import (
    BASIC,
    CRITICAL,
    HOSPITAL,
    REGION,
    StubPayer,
    lost_after_effect,
    lost_before_effect,
)
from tests.support.dead_letters import an_office
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.recon_breaks import NOTHING, a_break, a_run, a_statement, once

DAY_S = 86_400
TRIES = 400
"""More than anybody asks before giving up."""


@dataclass
class Desk:
    """The people of a hub who reconcile: li asks, wang agrees."""

    hub: TestHub
    actions: Actions = field(init=False)
    today: date = field(init=False)

    def __post_init__(self) -> None:
        self.actions = an_office(self.hub).actions
        self.today = day_of(self.hub.clock.now())

    def settled(self, number: str = "S-1", behaviour: Any = None) -> str:
        """A settlement; with a behaviour of CRITICAL its second leg is left in doubt, and the cashier is gone."""
        if behaviour is not None:
            self.hub.payers[CRITICAL].script.append(behaviour)
        case_id = self.hub.settle(number).case_id
        self.hub.pump()
        if behaviour is not None:
            self.hub.clock.advance(20)
            self.hub.sweep()
            self.hub.pump()
        return str(case_id)

    def found(self, break_class: BreakClass, case_id: str, leg_no: int | None = 2, **changes: Any) -> tuple[int, int]:
        """(run, break) of a run over CRITICAL's statement (or the hospital's) that found this."""
        party = CRITICAL if leg_no else HOSPITAL
        with self.hub.database.begin() as connection:
            run_id = a_run(connection, party, self.today, [a_statement(connection, party, self.today, 7_500)])
            number = a_break(connection, run_id, break_class, self.hub.case(case_id), leg_no, **changes)
            propose(connection, run_id)
        return run_id, number

    def the(self, number: int) -> breaks.Break:
        with self.hub.database.begin() as connection:
            breaks.follow(connection, self.hub.clock.now())
            return breaks.by_id(connection, [number])[number]

    def entry_ids(self, number: int) -> list[int]:
        with self.hub.database.connect() as connection:
            query = text("SELECT entry_ids FROM recon_break WHERE break_id = :id")
            return list(connection.execute(query, {"id": number}).scalar_one())

    def ask(self, kind: str, subject: str, **detail: Any) -> Any:
        return self.actions.request(kind, subject, detail, "their list of today", "li")

    def apply(self, run_id: int, number: int, remedy: Remedy) -> Any:
        """Asked for by li and, where that is needed, agreed by wang."""
        action = self.ask("recon.apply", f"run/{run_id}", **detail_of(run_id, [Decision(number, remedy)]))
        return self.actions.approve(action.id, "wang") if action.state == "requested" else action

    def sign_off(self, run_id: int, **exceptions: str) -> Any:
        action = self.ask("recon.sign_off", f"run/{run_id}", exceptions=exceptions)
        return self.actions.approve(action.id, "wang")

    def seal(self, day: date | None = None, **exceptions: str) -> Any:
        action = self.ask("recon.seal", f"day/{day or self.today}", exceptions=exceptions)
        return self.actions.approve(action.id, "wang")

    def faults(self) -> list[str]:
        with self.hub.database.connect() as connection:
            return [f"{one.subject}: {one.detail}" for one in seal_checks.faults(connection)]

    def owed_fen(self) -> int:
        with self.hub.database.connect() as connection:
            return sum(one.balances[Account.RECEIVABLE] for one in ledger.balances(connection, payer=CRITICAL))


@dataclass
class Found:
    """What a run has left open: (break, proposal) each, and proposals by case."""

    run_id: int
    open: list[tuple[int, Remedy]]
    proposals: dict[str, str]


@dataclass
class Books:
    """Statements of a desk's day as its parties send them, and the runs over them."""

    desk: Desk

    def of_payer(self, party: str, leg_no: int, *case_ids: str) -> None:
        """Every settlement of these in the payer's own book."""
        lines = []
        for case_id in case_ids:
            leg = self.desk.hub.case(case_id).leg(leg_no)
            entry = self.desk.hub.payers[party].book[leg.request_id]
            lines.append(self._line(case_id, request_id=leg.request_id, reference=f"REF-{leg.request_id[-8:]}",
                                    amount=yuan_of(entry.amount_fen)))  # fmt: skip
        self._sent(party, lines)

    def of_hospital(self, *case_ids: str) -> None:
        """What the hospital's last answers said of these."""
        lines = []
        for case_id in case_ids:
            said = self.desk.hub.answers(case_id)[-1]
            paid = sum(fen_of(one["amount"]) for one in said["shares"])
            lines.append(self._line(case_id, total=said["total"], amount=yuan_of(paid), cash=said["cash"]))
        self._sent(HOSPITAL, lines)

    def _line(self, case_id: str, **changes: Any) -> dict[str, Any]:
        case = self.desk.hub.case(case_id)
        at = case.received_at.isoformat()
        return {"institution": HOSPITAL, "settlement_no": case.settlement_no, "at": at, **changes}

    def _sent(self, party: str, lines: list[dict[str, Any]]) -> None:
        total = yuan_of(sum(fen_of(line["amount"]) for line in lines))
        content = {"party": party, "day": self.desk.today, "count": len(lines), "total": total, "lines": lines}
        hub = self.desk.hub.hub
        take_statement(
            hub.work_units, hub.books.active().book, Statement.model_validate(content),
            sha256=uuid4().hex * 2, form="json", source="sent", by="li", now=self.desk.hub.clock.now(),
        )  # fmt: skip

    def run(self, party: str) -> RunResult:
        """A run over what stands, as it told of itself."""
        engine = open_engine(self.desk.hub.hub.settings.database_url.get_secret_value(), by_key=False)
        try:
            return Runs(engine, self.desk.hub.hub.books, self.desk.hub.clock).run(party, "daily", self.desk.today, "li")
        finally:
            engine.dispose()

    def compared(self, party: str) -> Found:
        """A run over what stands."""
        made = self.run(party)
        with self.desk.hub.database.connect() as connection:
            left = list(breaks.of_run(connection, made.run_id, states=("open",)))
        assert made.open == len(left)
        proposals = {str(one.case_id): one.proposal for one in left}
        return Found(made.run_id, [(one.break_id, Remedy(one.proposal)) for one in left], proposals)


def payers(**can: bool) -> dict[str, StubPayer]:
    return {BASIC: StubPayer(), CRITICAL: StubPayer(idempotent=False, **can)}


def test_a_share_whose_answer_was_lost_is_confirmed_by_the_payers_book(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled(behaviour=lost_after_effect)
        run_id, number = desk.found(
            BreakClass.MISSING_AT_HUB, case_id, payer_side=once(7_500), reference="R-1", difference=7_500
        )
        proposed = desk.the(number)

        told = dry_run(hub.hub.work_units, hub.clock, run_id, [Decision(number, Remedy.CONFIRM)], "a look", "li")

        assert (proposed.proposal, hub.case(case_id).leg(2).state) == ("confirm", LegState.IN_DOUBT)
        assert [one.done for one in told] == [True]
        done = desk.apply(run_id, number, Remedy.CONFIRM)
        assert done.outcome == "1 of 1 break seen to"
        assert hub.case(case_id).leg(2).amount_fen == desk.owed_fen() == 7_500
        ended = desk.the(number)
        assert (ended.state, ended.remedy, ended.action_id) == ("resolved", "confirm", done.id)
        assert len(desk.entry_ids(number)) == 1
        _closes(desk, run_id)


def _closes(desk: Desk, run_id: int) -> None:
    """The run is signed off, the day sealed, and all of it verifies."""
    desk.sign_off(run_id)
    desk.hub.clock.advance(2 * DAY_S)
    desk.seal(**{f"{BASIC}/daily": "compared by hand"})
    assert desk.faults() == []


def test_a_payer_that_never_got_it_says_so_when_it_is_asked_again(database_url):
    with a_hub(database_url, payers=payers(inquiry=True), running=False) as hub:
        desk = Desk(hub)
        hub.payers[CRITICAL].script = [lost_before_effect] * TRIES
        case_id = desk.settled(behaviour=lost_before_effect)
        assert (hub.case(case_id).leg(2).state, hub.case(case_id).leg(2).next_at) == (LegState.IN_DOUBT, None)
        hub.payers[CRITICAL].script.clear()
        run_id, number = desk.found(BreakClass.NOT_YET_DUE, case_id, payer_side=NOTHING)

        asked = desk.apply(run_id, number, Remedy.INQUIRE)

        assert (asked.state, asked.decided_by) == ("executed", "")
        assert desk.the(number).state == "waiting"
        hub.pump()
        assert hub.case(case_id).leg(2).state is LegState.DEFERRED
        assert desk.the(number).state == "resolved"
        desk.sign_off(run_id)


class Reverses:
    """What the rule book's stub is said to be able to."""

    capabilities = Capabilities(reversal=True)


def test_what_was_declined_here_only_is_taken_back_there(database_url, monkeypatch):
    monkeypatch.setitem(ADAPTERS, "stub", Reverses)
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled(behaviour=lost_after_effect)
        word = desk.ask("doubt.decline", f"leg/{case_id}/2")
        desk.actions.approve(word.id, "wang")
        hub.payers[CRITICAL].capabilities = Reverses.capabilities
        assert hub.case(case_id).leg(2).state is LegState.DECLINED
        run_id, number = desk.found(BreakClass.STATUS, case_id, payer_side=once(7_500), difference=7_500)
        assert desk.the(number).proposal == "reverse"

        desk.apply(run_id, number, Remedy.REVERSE)
        waiting = desk.the(number).state
        hub.pump()

        assert waiting == "waiting"
        case = hub.case(case_id)
        assert (case.state, case.leg(2).state) == (CaseState.SETTLED, LegState.REVERSED)
        assert hub.payers[CRITICAL].net_fen == desk.owed_fen() == 0
        assert desk.the(number).state == "resolved"
        again, carried = desk.found(BreakClass.STATUS, case_id, payer_side=once(7_500), difference=7_500)
        assert desk.the(carried).state == "resolved"
        _closes(desk, again)


def test_a_hospital_without_its_answer_gets_it_once_more(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled()
        run_id, number = desk.found(BreakClass.MISSING_AT_HOSPITAL, case_id, None, hospital=NOTHING)
        assert desk.the(number).proposal == "resend_answer"

        desk.apply(run_id, number, Remedy.RESEND_ANSWER)

        sent = hub.outbox(f"out.{HOSPITAL}")
        assert [one["revision"] for one in sent] == [1, 1]
        assert desk.the(number).state == "waiting"
        with pytest.raises(Conflict, match="1 break is open"):
            desk.sign_off(run_id)
        with hub.database.begin() as connection:
            again = a_run(connection, HOSPITAL, desk.today, [a_statement(connection, HOSPITAL, desk.today, 22_500)])
        assert desk.the(number).state == "resolved"
        desk.sign_off(again)


def test_a_difference_is_posted_by_two_people_and_ends_in_the_books_of_its_day(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled()
        sides = {"hub": once(7_500), "payer_side": once(7_499), "difference": -1}
        run_id, number = desk.found(BreakClass.AMOUNT, case_id, **sides)
        assert desk.the(number).proposal == "post_difference"

        action = desk.ask(
            "recon.apply", f"run/{run_id}", **detail_of(run_id, [Decision(number, Remedy("post_difference"))])
        )
        with pytest.raises(Forbidden):
            desk.actions.approve(action.id, "li")
        desk.actions.approve(action.id, "wang")

        assert desk.owed_fen() == 7_499
        with hub.database.connect() as connection:
            posted = ledger.of_case(connection, case_id)[-1]
        assert (posted.debit, posted.credit, posted.amount_fen) == (Account.DIFFERENCE, Account.RECEIVABLE, 1)
        assert (posted.cause, desk.entry_ids(number)) == (f"break/{number}", [posted.entry_id])
        late = desk.ask(
            "recon.apply", f"run/{run_id}", **detail_of(run_id, [Decision(number, Remedy("post_difference"))])
        )
        assert desk.actions.approve(late.id, "wang").state == "failed"
        assert desk.owed_fen() == 7_499


@pytest.mark.parametrize("scheme", ["daily", "monthly"])
def test_one_difference_is_posted_once_whoever_found_it_again(database_url, scheme):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled()
        sides = {"hub": once(7_500), "payer_side": once(7_499), "difference": -1}
        run_id, number = desk.found(BreakClass.AMOUNT, case_id, **sides)
        with hub.database.begin() as connection:
            other = run_id if scheme == "daily" else a_run(connection, CRITICAL, desk.today, [1], scheme=scheme)
            connection.execute(text("UPDATE recon_run SET state = 'done' WHERE run_id = :run"), {"run": run_id})
            twin = a_break(connection, other, BreakClass.AMOUNT, hub.case(case_id), 2, **sides)

        first = desk.apply(run_id, number, Remedy.POST_DIFFERENCE)
        with hub.database.begin() as connection:
            if scheme != "daily":
                again = text("UPDATE recon_run SET ledger_to = (SELECT max(entry_id) FROM ledger_entry)")
                connection.execute(again)
        second = desk.apply(other, twin, Remedy.POST_DIFFERENCE)

        assert (first.state, second.state, desk.owed_fen()) == ("executed", "failed", 7_499)
        assert {"daily": "run it again", "monthly": "posted already, by CICI/daily"}[scheme] in second.outcome


@pytest.mark.parametrize(("remedy", "owed_fen"), [(Remedy.POST_DIFFERENCE, 0), (Remedy.PEOPLE, -1)])
def test_a_correction_whose_share_is_undone_is_told_until_its_payers_books_are_signed(database_url, remedy, owed_fen):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled()
        sides = {"hub": once(7_500), "payer_side": once(7_499), "difference": -1}
        desk.apply(*desk.found(BreakClass.AMOUNT, case_id, **sides), Remedy.POST_DIFFERENCE)

        def told() -> list[str]:
            with hub.database.begin() as connection:
                tell(connection, hub.clock.now())
                return [one.facts["amount"] for one in incidents.listed(connection, kind="recon.correction_left")]

        assert told() == []
        hub.cancel("S-1")
        hub.pump()
        assert (told(), desk.owed_fen()) == (["-0.01"], -1)
        with hub.database.begin() as connection:
            run_id = a_run(connection, CRITICAL, desk.today, [a_statement(connection, CRITICAL, desk.today, 7_500)])
            sides = {"hub": [0, 1, 0, -7_500, 0], "payer_side": [0, 1, 0, -7_499, 0], "difference": 1}
            number = a_break(connection, run_id, BreakClass.AMOUNT, hub.case(case_id), 2, **sides)
        assert told() == ["-0.01"], "nobody has seen to it yet"
        desk.apply(run_id, number, remedy)
        if remedy is Remedy.PEOPLE:
            desk.sign_off(run_id)
        assert (told(), desk.owed_fen()) == ([], owed_fen)


def test_one_that_cannot_be_done_stops_no_other(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        lost, fine = desk.settled(behaviour=lost_after_effect), desk.settled("S-2")
        run_id, number = desk.found(BreakClass.MISSING_AT_HUB, lost, payer_side=once(7_500), reference="R-1")
        with hub.database.begin() as connection:
            other = a_break(connection, run_id, BreakClass.STATUS, hub.case(fine), 2, payer_side=once(1))
        decided = [Decision(number, Remedy.CONFIRM), Decision(other, Remedy.REVERSE)]

        action = desk.ask("recon.apply", f"run/{run_id}", **detail_of(run_id, decided))
        done = desk.actions.approve(action.id, "wang")

        assert done.state == "executed"
        assert done.outcome.startswith(f"1 of 2 breaks seen to; not: break {other}: it is approved here")
        assert (desk.the(number).state, desk.the(other).state) == ("resolved", "open")


def test_no_difference_is_posted_on_top_of_the_payers_own_word(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled("S-1", lost_after_effect)
        sides = {"hub": NOTHING, "payer_side": once(7_500), "difference": 7_500}
        run_id, number = desk.found(BreakClass.MISSING_AT_HUB, case_id, **sides)

        unknown = desk.apply(run_id, number, Remedy.POST_DIFFERENCE)
        word = {"amount": "75.00", "reference": "R-1", "decided_at": hub.clock.now().isoformat()}
        desk.actions.approve(desk.ask("doubt.approve", f"leg/{case_id}/2", **word).id, "wang")
        known = desk.apply(run_id, number, Remedy.POST_DIFFERENCE)

        assert (unknown.state, "not known yet" in unknown.outcome) == ("failed", True)
        assert (known.state, "run it again" in known.outcome, desk.owed_fen()) == ("failed", True, 7_500)


@pytest.mark.parametrize(
    ("payer_side", "replaced", "why"),
    [(once(7_500), True, "run it again"), ([2, 0, 15_000, 0, 0], False, "2 times")],
    ids=["withdrawn", "twice"],
)
def test_no_word_is_taken_from_books_that_stand_no_more_nor_from_a_row_that_stands_twice(
    database_url, payer_side, replaced, why
):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled(behaviour=lost_after_effect)
        sides = {"payer_side": payer_side, "reference": "R-1", "difference": payer_side[2]}
        run_id, number = desk.found(BreakClass.MISSING_AT_HUB, case_id, **sides)
        if replaced:
            with hub.database.begin() as connection:
                a_statement(connection, CRITICAL, desk.today)

        done = desk.apply(run_id, number, Remedy.CONFIRM)

        assert (done.state, why in done.outcome) == ("failed", True), done.outcome
        assert (hub.case(case_id).leg(2).state, desk.owed_fen()) == (LegState.IN_DOUBT, 0)


def test_books_are_read_before_cases_are_held_and_must_still_stand_then(database_url, monkeypatch):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled(behaviour=lost_after_effect)
        sides = {"payer_side": once(7_500), "reference": "R-1", "difference": 7_500}
        run_id, number = desk.found(BreakClass.MISSING_AT_HUB, case_id, **sides)
        read = breaks.words_of

        def replaced_meanwhile(connection: Connection, numbers: list[int]) -> dict[int, breaks.Word]:
            found = read(connection, numbers)
            assert found[number].reference == "R-1"
            with hub.database.begin() as other:
                other.execute(text("SELECT 1 FROM settlement_case FOR UPDATE NOWAIT"))
                a_statement(other, CRITICAL, desk.today, 7_400)
            return found

        monkeypatch.setattr(breaks, "words_of", replaced_meanwhile)
        done = desk.apply(run_id, number, Remedy.CONFIRM)

        assert (done.state, "run it again" in done.outcome) == ("failed", True), done.outcome
        assert (hub.case(case_id).leg(2).state, desk.owed_fen()) == (LegState.IN_DOUBT, 0)


def test_no_difference_is_posted_by_books_that_stand_no_more(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        sides = {"hub": once(7_500), "payer_side": once(7_499), "difference": -1}
        run_id, number = desk.found(BreakClass.AMOUNT, desk.settled(), **sides)
        with hub.database.begin() as connection:
            a_statement(connection, CRITICAL, desk.today, 7_500)

        done = desk.apply(run_id, number, Remedy.POST_DIFFERENCE)

        assert (done.state, "run it again" in done.outcome, desk.owed_fen()) == ("failed", True, 7_500)


def test_what_is_signed_and_sealed_is_named_in_one_way_only(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        run_id, _ = desk.found(BreakClass.AMOUNT, desk.settled())
        subjects = {
            "recon.apply": (f"run/0{run_id}", f"run/ {run_id}", f"run/{run_id}_0", "run/", f"run/{2**63}"),
            "recon.seal": (f"day/{desk.today:%Y%m%d}", f"day/{desk.today:%G-W%V-%u}", f"{desk.today}"),
        }
        for kind, wrong in subjects.items():
            for subject in wrong:
                with pytest.raises(InvalidMessage):
                    desk.ask(kind, subject)


def test_a_run_that_is_being_signed_off_is_not_touched(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        run_id, number = desk.found(BreakClass.MISSING_AT_HUB, desk.settled(), hub=NOTHING, payer_side=once(7_500))
        with hub.database.begin() as connection:
            connection.execute(text("UPDATE recon_break SET state = 'waiting', remedy = 'confirm'"))
        with hub.database.connect() as signer:
            signing.lock(signer, run_id)
            behind = desk.the(number).state

        assert (behind, desk.the(number).state) == ("waiting", "resolved")


def test_a_hospitals_books_that_came_after_the_run_are_compared_or_left_out_with_a_reason(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        with hub.database.begin() as connection:
            run_id = a_run(connection, CRITICAL, desk.today, [a_statement(connection, CRITICAL, desk.today)])
        asked = desk.ask("recon.sign_off", f"run/{run_id}", exceptions={})
        with hub.database.begin() as connection:
            a_statement(connection, HOSPITAL, desk.today, 7_500)

        late = desk.actions.approve(asked.id, "wang")

        assert (late.state, f"are here of {HOSPITAL}: run it again" in late.outcome) == ("failed", True)
        with pytest.raises(Conflict, match="no open break hospital"):
            desk.sign_off(run_id, hospital="a typing error")
        assert desk.sign_off(run_id, hospitals="its own run compares them").state == "executed"
        with pytest.raises(Conflict, match="is signed_off"):
            desk.sign_off(run_id, hospitals="once more")


def test_a_row_that_is_late_and_wrong_is_told_as_one_in_both_its_halves(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id = desk.settled()
        _, here = desk.found(BreakClass.MISSING_AT_INSURER, case_id, hub=once(7_500), payer_side=NOTHING,
                             difference=-7_500)  # fmt: skip
        alone = desk.the(here).reason
        desk.today += timedelta(days=1)

        _, there = desk.found(BreakClass.MISSING_AT_HUB, case_id, payer_side=once(7_400), difference=7_400)

        said = f"; with break {there} of {desk.today} one row, late and wrong: together the books differ by -1.00"
        assert desk.the(here).reason == f"{alone}{said}"
        assert f"; with break {here} of" in desk.the(there).reason
        assert (desk.the(here).proposal, desk.the(there).proposal) == ("people", "people")


def test_what_is_booked_while_a_day_is_being_sealed_is_looked_at_too(database_url, monkeypatch):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        taken = seals.take

        def late(connection: Any, day: date, **how: Any) -> seals.Seal:
            """Somebody posts when everything was checked."""
            with hub.database.begin() as another:
                ledger.post(another, [entry])
            return taken(connection, day, **how)

        entry = Entry(
            region=REGION, business_day=desk.today, effective_day=desk.today, institution=HOSPITAL, payer=CRITICAL,
            layer="critical_illness", product="critical", kind=Kind.SETTLE, debit=Account.RECEIVABLE,
            credit=Account.PATIENT, amount_fen=7_500, cause="by hand",
        )  # fmt: skip
        hub.clock.advance(DAY_S)
        asked = desk.ask("recon.seal", f"day/{desk.today}", exceptions={"nobody": "a holiday"})
        monkeypatch.setattr(seals, "take", late)

        refused = desk.actions.approve(asked.id, "wang")

        assert (refused.state, "was not compared" in refused.outcome) == ("failed", True)


def test_what_was_written_off_is_not_explained_by_a_row_that_comes_a_day_late(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id, books = desk.settled(), Books(desk)
        books.of_payer(CRITICAL, 2)
        missed = books.compared(CRITICAL)
        desk.apply(missed.run_id, missed.open[0][0], Remedy.POST_DIFFERENCE)
        again, written_off = books.compared(CRITICAL), desk.owed_fen()
        hub.clock.advance(DAY_S)
        desk.today = day_of(hub.clock.now())
        books.of_payer(CRITICAL, 2, case_id)

        late = books.compared(CRITICAL)
        assert late.open[0][1] is not Remedy.POST_DIFFERENCE, "it was posted for another day"
        desk.apply(late.run_id, late.open[0][0], Remedy.POST_DIFFERENCE)

        assert (again.open, written_off) == ([], 0)
        assert (books.compared(CRITICAL).open, desk.owed_fen()) == ([], 7_500)


def test_an_institutions_books_with_a_late_share_agree_with_ours_and_count_the_bill_once(database_url, tmp_path):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        late, books, path = desk.settled("S-1", lost_after_effect), Books(desk), tmp_path / "out.zip"
        desk.settled("S-2")
        word = {"amount": "75.00", "reference": "R-1", "decided_at": hub.clock.now().isoformat()}
        desk.actions.approve(desk.ask("doubt.approve", f"leg/{late}/2", **word).id, "wang")
        engine, book = open_engine(hub.hub.settings.database_url.get_secret_value()), hub.hub.books.active().book

        header = export(engine, book, HOSPITAL, desk.today, Form.NATIONAL, path)
        statement_id = take_file(engine, book, path, header, by="li", now=hub.clock.now()).statement_id

        with engine.connect() as connection:
            query = text("SELECT total_fen FROM statement_line WHERE statement_id = :id ORDER BY 1")
            bills = list(connection.execute(query, {"id": statement_id}).scalars())
            whole = hub.case(late).total_fen
        engine.dispose()
        assert (bills, books.compared(HOSPITAL).open) == ([0, whole, whole], [])


def test_a_difference_is_taken_back_when_the_payer_mends_its_book(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id, books = desk.settled(), Books(desk)
        books.of_payer(CRITICAL, 2)
        missed = books.compared(CRITICAL)
        desk.apply(missed.run_id, missed.open[0][0], Remedy.POST_DIFFERENCE)
        books.of_payer(CRITICAL, 2, case_id)

        mended = books.compared(CRITICAL)
        number, proposed = mended.open[0]
        said = desk.the(number).reason
        desk.apply(mended.run_id, number, proposed)

        assert (proposed, "take the posted difference back" in said) == (Remedy.POST_DIFFERENCE, True)
        assert (books.compared(CRITICAL).open, desk.owed_fen()) == ([], 7_500)


def test_what_people_ended_is_resolved_in_the_next_run_too_and_not_explained(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        desk.settled()
        books = Books(desk)
        books.of_payer(CRITICAL, 2)
        missed = books.compared(CRITICAL)
        desk.apply(missed.run_id, missed.open[0][0], Remedy.PEOPLE)

        again = books.run(CRITICAL)

        assert (again.open, again.resolved, again.counts["missing_at_insurer"]) == (0, 1, 1)


def test_what_was_written_off_and_undone_later_is_not_explained_by_nobody_having_it(database_url):
    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)
        case_id, books = desk.settled(), Books(desk)
        books.of_payer(CRITICAL, 2)
        missed = books.compared(CRITICAL)
        desk.apply(missed.run_id, missed.open[0][0], Remedy.POST_DIFFERENCE)
        hub.clock.advance(3 * DAY_S)
        desk.today = day_of(hub.clock.now())
        hub.cancel()
        hub.pump()
        books.of_payer(CRITICAL, 2)

        assert (hub.case(case_id).leg(2).state, desk.owed_fen()) == (LegState.CANCELLED, -7_500)
        assert len(books.compared(CRITICAL).open) == 1


def test_a_day_with_everything_wrong_is_closed_to_the_fen(database_url, monkeypatch):
    monkeypatch.setitem(ADAPTERS, "stub", Reverses)
    with a_hub(database_url, payers=payers(), running=False) as hub:
        desk = Desk(hub)
        lost = desk.settled("S-1", lost_after_effect)
        never = desk.settled("S-2", lost_before_effect)
        declined = desk.settled("S-3", lost_after_effect)
        fine = desk.settled("S-4")
        desk.actions.approve(desk.ask("doubt.decline", f"leg/{declined}/2").id, "wang")
        hub.payers[CRITICAL].capabilities = Reverses.capabilities
        hub.clock.advance(2 * DAY_S)
        books = Books(desk)
        books.of_payer(CRITICAL, 2, lost, declined, fine)
        books.of_payer(BASIC, 1, lost, never, declined, fine)
        books.of_hospital(lost, never, declined)

        found = books.compared(CRITICAL)
        assert found.proposals == {lost: "confirm", declined: "reverse"}
        assert books.compared(BASIC).proposals == {}
        at_hospital = books.compared(HOSPITAL)
        assert at_hospital.proposals == {fine: "resend_answer"}

        for one in (found, at_hospital):
            for number, remedy in one.open:
                desk.apply(one.run_id, number, remedy)
        hub.pump()
        with pytest.raises(Conflict, match="1 of its legs is in doubt"):
            desk.sign_off(found.run_id)
        desk.actions.approve(desk.ask("doubt.decline", f"leg/{never}/2").id, "wang")

        books.of_hospital(lost, never, declined, fine)
        again = [books.compared(party) for party in (CRITICAL, BASIC, HOSPITAL)]
        assert [one.proposals for one in again] == [{}, {}, {}]
        for one in again:
            desk.sign_off(one.run_id)
        desk.seal()
        assert desk.faults() == []
        assert hub.payers[CRITICAL].net_fen == desk.owed_fen() == 15_000
        with hub.database.connect() as connection:
            assert [one.code for one in INVARIANTS if invariants.broken(connection, one, None)] == []
