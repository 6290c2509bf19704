"""Runs: one at a time, and one that counts; what they say of statements that are late and cases under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from hub.recon.runs import Runs
from hub.recon.staleness import stale
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import Conflict, NotFound, Unavailable
from store import breaks, hub_side, matching_runs, seals, signing
from store.database import open_engine
from store.hub_side import HubSide
from store.tables_ledger import entries
from tests.support.builders import BASIC, BASIC_RULE, COMMERCIAL, COMMERCIAL_RULE, HOSPITAL, REGION, a_rule_book
from tests.support.eventually import eventually
from tests.support.recon_books import (
    DAY,
    NEXT_MORNING,
    FixedClock,
    OneBook,
    Share,
    Told,
    breaks_of,
    hospital_lines,
    no_proposals,
    payer_lines,
    refunded,
    settled,
    write_hub,
    write_statement,
)

OF = matching_runs.Day(COMMERCIAL, "daily", DAY)
ONE = settled(5_000)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url, pool_size=3)
    yield made
    made.dispose()


def runs_at(engine: Engine, at: datetime = NEXT_MORNING) -> Runs:
    book = a_rule_book(BASIC_RULE, COMMERCIAL_RULE)
    return Runs(engine, OneBook(book), FixedClock(at), no_proposals)  # type: ignore[arg-type]


def tell(engine: Engine, *shares: Share, apart: int = 0) -> None:
    with engine.begin() as connection:
        write_statement(connection, Told(COMMERCIAL, payer_lines(shares, apart), apart=apart))


def book(engine: Engine, *shares: Share) -> None:
    with engine.begin() as connection:
        write_hub(connection, shares)


def state_of(engine: Engine, run_id: int) -> str:
    with engine.connect() as connection:
        found = matching_runs.by_id(connection, run_id)
    assert found is not None
    return found.state


def test_a_run_takes_the_place_of_the_one_before_and_never_of_one_that_is_signed_off(engine: Engine) -> None:
    share = Share("S-1", COMMERCIAL, (ONE,), (settled(4_999),))
    book(engine, share)
    tell(engine, share)
    runs = runs_at(engine)
    first = runs.run(*OF, "li")
    with engine.begin() as connection:
        connection.execute(text("UPDATE recon_break SET first_day = first_day - 3"))

    second = runs.run(*OF, "li")

    assert (state_of(engine, first.run_id), state_of(engine, second.run_id)) == ("void", "done")
    with engine.begin() as connection:
        (found,) = matching_runs.breaks(connection, run_id=second.run_id)
        assert found.first_day == DAY - timedelta(days=3), "it has been there since"
        assert (found.hub, found.payer_side, found.hospital) == ([1, 0, 5_000, 0, 0], [1, 0, 4_999, 0, 0], None)
        assert (found.difference_fen, second.open) == (-1, 1)
        connection.execute(text("UPDATE recon_run SET state = 'signed_off' WHERE run_id = :id"), {"id": second.run_id})
    with pytest.raises(Conflict, match="signed off"):
        runs.run(*OF, "li")
    with pytest.raises(NotFound):
        runs.run(COMMERCIAL, "weekly", DAY, "li")
    with pytest.raises(Conflict, match="not begun"):
        runs.run(COMMERCIAL, "daily", DAY + timedelta(days=2), "li")


def test_a_second_run_at_the_same_time_is_refused_and_one_that_died_is_taken_over(engine: Engine) -> None:
    share = Share("S-1", COMMERCIAL, (ONE,), (ONE,))
    book(engine, share)
    tell(engine, share)
    with engine.connect() as connection, matching_runs.held(connection, OF) as mine:
        assert mine
        with connection.begin():
            died = matching_runs.begin(connection, OF, {}, 1, by="wang", at=NEXT_MORNING)
        with pytest.raises(Conflict, match="by=wang, since=2026-03-03 02:00:00"):
            runs_at(engine).run(*OF, "li")

    result = runs_at(engine).run(*OF, "li")

    assert result.counts == {"matched": 1}
    assert state_of(engine, died) == "failed"


def test_a_statement_that_has_not_come_is_said_once_and_is_no_break(engine: Engine) -> None:
    book(engine, Share("S-1", COMMERCIAL, (ONE,)), Share("S-2", COMMERCIAL, (ONE,)))

    before = runs_at(engine, NEXT_MORNING - timedelta(hours=3)).run(*OF, "li")
    after = runs_at(engine).run(*OF, "li")
    idle = runs_at(engine).run(BASIC, "daily", DAY, "li")

    assert (before.counts, before.finding) == ({"not_yet_due": 2}, "the statement is due 2026-03-03 09:00")
    assert (after.counts, after.finding) == ({"no_statement": 2}, "no statement since 2026-03-03 09:00")
    assert after.totals["payer"] is None
    assert after.totals["hub"]["settled_fen"] == 10_000
    assert (idle.counts, idle.finding) == ({}, "")
    tell(engine)
    assert runs_at(engine).run(*OF, "li").counts == {"matched": 0, "missing_at_insurer": 2}, "an empty one is one"


def test_a_case_that_is_under_way_is_not_yet_due_until_the_day_is(engine: Engine) -> None:
    doubt = datetime(2026, 3, 2, 8, tzinfo=UTC)
    share = Share("S-1", COMMERCIAL, (), (ONE,), state="in_doubt", doubt_since=doubt)
    book(engine, share)
    tell(engine, share)

    early = runs_at(engine, NEXT_MORNING - timedelta(hours=3)).run(*OF, "li")
    late = runs_at(engine).run(*OF, "li")

    assert (early.counts, early.open) == ({"matched": 0, "not_yet_due": 1}, 0)
    assert (late.counts, late.open) == ({"matched": 0, "missing_at_hub": 1}, 1)


def test_what_was_corrected_agrees_in_the_next_run_and_in_no_other_book(engine: Engine) -> None:
    less = Share("S-1", COMMERCIAL, (ONE,), (settled(4_900),), (ONE,))
    unknown = Share("S-2", COMMERCIAL, (), (settled(300),), known_by="ODD")
    undone = Share("S-3", COMMERCIAL, (ONE,), (ONE, refunded(5_000)), (ONE,))
    book(engine, less, undone)
    tell(engine, less, unknown, undone)
    runs = runs_at(engine)
    assert runs.run(*OF, "li").open == 3

    with engine.begin() as connection:
        for found in matching_runs.breaks(connection, day=DAY):
            connection.execute(insert(entries), [correction(found)])

    assert runs.run(*OF, "li").counts == {"matched": 3}
    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines([less, undone], whole=True)))
    assert runs.run(HOSPITAL, "daily", DAY, "li").counts == {"matched": 2}


def correction(found: matching_runs.Break) -> dict[str, object]:
    """The difference, written up or off."""
    up = found.difference_fen > 0
    return {
        "region": REGION,
        "business_day": DAY + timedelta(days=1),
        "effective_day": DAY + timedelta(days=1),
        "about_day": DAY,
        "institution": found.institution,
        "payer": found.payer,
        "kind": "correction",
        "debit": "receivable" if up else "difference",
        "credit": "difference" if up else "receivable",
        "amount_fen": abs(found.difference_fen),
        "case_id": found.case_id,
        "leg_no": found.leg_no,
        "cause": f"break/{found.break_id}",
    }


def test_an_institution_is_compared_settlement_by_settlement(engine: Engine) -> None:
    bill = settled(5_000, 200, total=9_000)
    good = Share("S-1", BASIC, (bill,), (), (bill,))
    second_leg = Share("S-1", COMMERCIAL, (settled(700),), leg_no=2)
    whole = replace(good, hospital=(settled(5_700, 200, total=9_000),))
    other_total = Share("S-2", BASIC, (bill,), (), (settled(5_000, 200, total=9_001),))
    undone = Share("S-3", BASIC, (bill, refunded(5_000, 200, total=9_000)), (), (bill,))
    reversed_ = replace(undone, no="S-4", hospital=(), undone_by="reversal")
    gone = Share("S-5", BASIC, (bill,))
    paid_by_patient = Share("S-6", BASIC, (), (), (settled(0, total=4_000),))
    shares = [whole, other_total, undone, reversed_, gone, paid_by_patient]
    book(engine, *shares, second_leg)
    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines(shares, whole=True)))

    result = runs_at(engine).run(HOSPITAL, "daily", DAY, "li")

    found = {key.split("/")[1]: name for key, (name, _) in breaks_of(engine, result.run_id).items()}
    assert found == {
        other_total.case_id: "amount",
        undone.case_id: "status",
        reversed_.case_id: "reversed_pair",
        gone.case_id: "missing_at_hospital",
    }
    assert result.counts["matched"] == 1
    assert result.totals["hub"]["total_fen"] == 9_000 * 3
    counted = [result.totals["hub"][name] for name in ("settlements", "refunds")]
    assert counted == [5, 2], "settlements as wholes, not their shares"


def test_lines_are_found_by_whatever_number_they_name(engine: Engine) -> None:
    shares = [Share(f"S-{index}", COMMERCIAL, (ONE,), (ONE,), known_by=name)
              for index, name in enumerate(("request_id", "reference", "settlement_no"))]  # fmt: skip
    twice = [Share("S-9", COMMERCIAL, (settled(fen),), (settled(fen),), leg_no=leg, known_by="settlement_no")
             for leg, fen in ((1, 800), (2, 300))]  # fmt: skip
    in_doubt = Share("S-8", COMMERCIAL, (), (ONE,), state="in_doubt", known_by="settlement_no")
    of_another = Share("S-7", BASIC, (ONE,), (ONE,))
    foreign = Share("S-6", COMMERCIAL, (), (settled(77),), known_by="ODD")
    book(engine, *shares, *twice, in_doubt, of_another)
    tell(engine, *shares, *twice, in_doubt, of_another, foreign)

    result = runs_at(engine).run(*OF, "li")

    assert breaks_of(engine, result.run_id) == {
        in_doubt.key: ("missing_at_hub", "open"),
        f"line/{of_another.request_id}": ("missing_at_hub", "open"),
        "line/ODD-S-6": ("missing_at_hub", "open"),
    }
    assert result.counts["matched"] == 5


@pytest.mark.parametrize("part", [{"regions": ["999999"]}, {"insurance_types": ["310"]},
                                  {"regions": ["999999"], "body": "institution"}])  # fmt: skip
def test_an_institution_tells_of_all_books_of_a_payer_and_each_is_compared_with_its_own(
    engine: Engine, part: dict[str, object]
) -> None:
    elsewhere = Share("S-1", COMMERCIAL, (ONE,), (), (ONE,))
    misplaced = Share("S-2", COMMERCIAL, (ONE,), (ONE,), (ONE,))
    unknown = Share("S-3", COMMERCIAL, (), (), (ONE,))
    book(engine, elsewhere, misplaced)
    tell(engine, elsewhere, misplaced)
    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines([elsewhere, misplaced, unknown]), by_payer=True))
    schemes = [{"party": COMMERCIAL, **part}]
    runs = Runs(engine, OneBook(a_rule_book(COMMERCIAL_RULE, reconciliation=schemes)), FixedClock(), no_proposals)

    result = runs.run(*OF, "li")

    assert breaks_of(engine, result.run_id) == {
        misplaced.key: ("missing_at_hub", "open"),
        f"line/{HOSPITAL}/S-3": ("missing_at_hub", "open"),
    }
    assert result.counts["matched"] == 0


def test_a_line_of_the_next_day_stands_for_one_share_only(engine: Engine) -> None:
    late = settled(800, apart=1)
    of_one_case = [Share("S-1", COMMERCIAL, (settled(800),), (late,) if leg == 1 else (), known_by="settlement_no",
                         leg_no=leg) for leg in (1, 2)]  # fmt: skip
    numbered_daily = Share("S-2", COMMERCIAL, (settled(800),), known_by="reference")
    next_days = Share("S-3", COMMERCIAL, (late,), (late,), known_by="reference")
    alone = Share("S-4", COMMERCIAL, (settled(800),), (late,), known_by="reference")
    shares = (*of_one_case, numbered_daily, next_days, alone)
    book(engine, *shares)
    with engine.begin() as connection:
        connection.execute(text("UPDATE settlement_leg SET payer_reference = 'REF-S-3-1/V-1' WHERE case_id = :id"),
                           {"id": numbered_daily.case_id})  # fmt: skip
    for apart in (0, 1):
        tell(engine, *shares, apart=apart)

    result = runs_at(engine).run(*OF, "li")

    found = breaks_of(engine, result.run_id)
    assert found.pop(alone.key) == ("late_cut_off", "explained")
    assert found == {share.key: ("missing_at_insurer", "open") for share in (*of_one_case, numbered_daily)}


def test_what_a_day_excused_is_not_told_once_more_on_the_next(engine: Engine) -> None:
    early, ours = settled(800), settled(800, apart=1)
    excused = Share("S-1", COMMERCIAL, (ours,), (early,))
    twice = Share("S-2", COMMERCIAL, (ours,), (early, ours))
    book(engine, excused, twice)
    tell(engine, excused, twice)
    runs = runs_at(engine, NEXT_MORNING + timedelta(days=1))
    first = runs.run(*OF, "li")
    assert breaks_of(engine, first.run_id) == {one.key: ("late_cut_off", "explained") for one in (excused, twice)}
    tell(engine, excused, twice, apart=1)

    second = runs.run(COMMERCIAL, "daily", DAY + timedelta(days=1), "li")

    assert breaks_of(engine, second.run_id) == {
        excused.key: ("late_cut_off", "explained"),
        twice.key: ("duplicate", "open"),
    }


def test_our_books_as_we_send_them_agree_with_our_books(engine: Engine) -> None:
    bill, back = settled(5_000, 200, total=9_000), refunded(5_000, 200, total=9_000)
    shares = [
        Share("S-1", COMMERCIAL, (bill,)),
        Share("S-2", COMMERCIAL, (bill, back)),
        Share("S-3", COMMERCIAL, (back,)),
    ]
    book(engine, *shares, Share("S-4", BASIC, (bill,)))
    sides = (
        HubSide(Scheme(party=COMMERCIAL), "payer", DAY),
        HubSide(Scheme(party=HOSPITAL), "institution", DAY),
        HubSide(Scheme(party=HOSPITAL), "institution", DAY, by_payer=True),
    )
    for side, rows in zip(sides, (4, 5, 5), strict=True):
        with engine.begin() as connection:
            lines = list(hub_side.lines(connection, side))
            told = [
                {f"{name}_fen" if name in ("total", "amount", "account", "cash") else name: value
                 for name, value in line._asdict().items()}
                for line in lines
            ]  # fmt: skip
            write_statement(connection, Told(side.scheme.party, told, by_payer=not side.whole))
        result = runs_at(engine).run(side.scheme.party, "daily", DAY, "li")

        assert len(lines) == rows
        assert breaks_of(engine, result.run_id) == {}
    whole = [line for line in _lines(engine, sides[1]) if line.settlement_no == "S-1"]
    assert [(line.total, line.amount, line.account, line.cash) for line in whole] == [(9_000, 5_000, 200, 3_800)]
    left_out = HubSide(Scheme(party=COMMERCIAL, refunds="left_out", account="in_fund"), "payer", DAY)
    assert [(line.settlement_no, line.amount, line.account) for line in _lines(engine, left_out)] == [
        ("S-1", 5_200, 0),
        ("S-3", -5_200, 0),
    ]


def _lines(engine: Engine, side: HubSide) -> list[hub_side.HubLine]:
    with engine.begin() as connection:
        return list(hub_side.lines(connection, side))


def test_a_run_misses_nobody_who_took_a_lower_number_and_had_not_ended(engine: Engine, monkeypatch) -> None:
    early, late = Share("S-1", COMMERCIAL, (ONE,), (ONE,)), Share("S-2", COMMERCIAL, (ONE,), (ONE,))
    tell(engine, early, late)
    monkeypatch.setattr(seals, "LOCK_WAIT_MS", 20)
    with engine.connect() as poster:
        write_hub(poster, (early,))
        book(engine, late)
        with pytest.raises(Unavailable):
            runs_at(engine).run(*OF, "li")
        poster.commit()

    found = runs_at(engine).run(*OF, "li")

    assert (found.counts, found.open) == ({"matched": 2}, 0)
    book(engine, Share("S-3", COMMERCIAL, (ONE,), (ONE,)))  # nobody is kept out any more


def test_what_patients_paid_is_compared_where_an_institution_tells_it(engine: Engine) -> None:
    cash = {"S-1": 3_000, "S-2": 2_990, "S-3": 0}
    shares = [Share(no, COMMERCIAL, (row,), hospital=(row,)) for no in cash for row in [settled(5_000, total=8_000)]]
    refund = (settled(5_000, total=8_000), refunded(5_000, total=8_000))
    shares.append(Share("S-4", COMMERCIAL, refund, hospital=refund))
    book(engine, *shares)
    told = [
        one | {"cash_fen": cash.get(one["settlement_no"], 3_000 if one["kind"] == "settle" else -3_000)}
        for one in hospital_lines(shares, whole=True)
    ]

    def found(scheme: Scheme, lines: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
        with engine.begin() as connection:
            write_statement(connection, Told(HOSPITAL, lines))
        rules = a_rule_book(*RULES).model_copy(update={"reconciliation": (scheme,)})
        made = Runs(engine, OneBook(rules), FixedClock(), no_proposals).run(HOSPITAL, "daily", DAY, "li")  # type: ignore[arg-type]
        with engine.connect() as connection:
            listed = matching_runs.breaks(connection, run_id=made.run_id)
        return {one.settlement_no: (f"{one.break_class} {one.state}", one.difference_fen) for one in listed}

    usual = Scheme(party=HOSPITAL)
    assert found(usual, told) == {"S-2": ("amount open", -10), "S-3": ("amount open", -3_000)}
    tolerant = usual.model_copy(update={"tolerance_fen": 10})
    assert found(tolerant, told)["S-2"] == ("amount explained", -10)
    assert found(usual.model_copy(update={"cash": "left_out"}), told) == {}
    assert found(usual, [one | {"cash_fen": 0} for one in told]) == {}, "an institution that tells nothing of it"


RULES = (BASIC_RULE, COMMERCIAL_RULE)


def why_stale(engine: Engine, run_id: int, book: RuleBook | None = None) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        run = signing.read(connection, run_id)
        assert run is not None
        return [(one.name, one.text) for one in stale(connection, run, book or a_rule_book(*RULES))]


def test_a_run_is_stale_when_books_came_or_were_replaced_that_it_would_compare_now(engine: Engine) -> None:
    share = Share("S-1", COMMERCIAL, (ONE,), (ONE,), (ONE,))
    book(engine, share)
    tell(engine, share)
    runs = runs_at(engine)
    first = runs.run(*OF, "li").run_id
    assert why_stale(engine, first) == []
    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines([share], whole=True)))
        write_statement(connection, Told(BASIC, []))
    assert why_stale(engine, first) == [], "books that a payer's run does not look at"

    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines([share]), by_payer=True))
    assert why_stale(engine, first) == [
        ("hospitals", f"other books than were compared are here of {HOSPITAL}: run it again")
    ]
    second = runs.run(*OF, "li").run_id
    assert why_stale(engine, second) == []
    with engine.begin() as connection:
        write_statement(connection, Told(HOSPITAL, hospital_lines([share]), by_payer=True))
    tell(engine, share)
    assert [name for name, _ in why_stale(engine, second)] == ["", "hospitals"]


def test_a_run_is_stale_when_the_rule_book_means_something_else_by_it(engine: Engine) -> None:
    tell(engine)
    runs = runs_at(engine)
    run_id = runs.run(*OF, "li").run_id

    def with_scheme(**switches: Any) -> RuleBook:
        scheme = Scheme(party=COMMERCIAL, **switches)
        return a_rule_book(*RULES).model_copy(update={"reconciliation": (scheme,)})

    changed = [("scheme", "how it is compared has changed since: run it again")]
    assert why_stale(engine, run_id, with_scheme(account="in_fund")) == changed
    assert why_stale(engine, run_id, with_scheme(due_days=3, statement="pulled")) == []
    gone = [("scheme", f"{COMMERCIAL}/daily is in the rule book no longer")]
    assert why_stale(engine, run_id, with_scheme(code="weekly")) == gone


def test_who_counts_on_a_neighbours_books_hears_that_they_were_replaced(engine: Engine) -> None:
    late = Share("S-1", COMMERCIAL, (ONE,), (settled(5_000, apart=1),))
    book(engine, late)
    tell(engine)
    tell(engine, late, apart=1)
    runs = runs_at(engine, NEXT_MORNING + timedelta(days=1))
    run_id = runs.run(*OF, "li").run_id
    next_id = runs.run(COMMERCIAL, "daily", DAY + timedelta(days=1), "li").run_id
    assert breaks_of(engine, run_id) == {late.key: ("late_cut_off", "explained")}
    assert why_stale(engine, run_id) == why_stale(engine, next_id) == []

    tell(engine, apart=1)

    said = "books of another day that explained rows of this one were replaced since: run it again"
    assert why_stale(engine, run_id) == [("", said)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE recon_run SET state = 'signed_off' WHERE run_id = :id"), {"id": run_id})
    again = runs.run(COMMERCIAL, "daily", DAY + timedelta(days=1), "li").run_id
    ((name, said),) = why_stale(engine, again)
    assert (name, said.startswith(f"run {run_id} of 2026-03-02, signed off, explained 1 row")) == ("neighbours", True)


def somebody_waits(engine: Engine) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def test_a_run_takes_the_runs_of_other_days_before_their_breaks_as_people_do(engine: Engine) -> None:
    share = Share("S-1", COMMERCIAL, (ONE, refunded(5_000, apart=3)))
    book(engine, share)
    tell(engine)
    tell(engine, apart=3)
    runs = runs_at(engine, NEXT_MORNING + timedelta(days=3))
    run_id = runs.run(*OF, "li").run_id
    made: list[int] = []
    other = threading.Thread(
        target=lambda: made.append(runs.run(COMMERCIAL, "daily", DAY + timedelta(days=3), "wang").run_id)
    )

    with engine.begin() as people:
        assert signing.lock(people, run_id) is not None
        other.start()
        eventually(lambda: somebody_waits(engine))
        (found,) = matching_runs.breaks(people, run_id=run_id)
        assert set(breaks.lock(people, [found.break_id])) == {found.break_id}
    other.join()

    assert breaks_of(engine, run_id) == {share.key: ("reversed_pair", "explained")}
    assert breaks_of(engine, made[0]) == {share.key: ("reversed_pair", "explained")}


def test_a_run_waits_for_who_is_signing_and_then_is_refused(engine: Engine) -> None:
    tell(engine)
    runs = runs_at(engine)
    run_id = runs.run(*OF, "li").run_id
    refused: list[str] = []

    def again() -> None:
        try:
            runs.run(*OF, "wang")
        except Conflict as error:
            refused.append(error.code)

    with engine.begin() as signer:
        assert signing.lock(signer, run_id) is not None
        other = threading.Thread(target=again)
        other.start()
        eventually(lambda: somebody_waits(engine))
        signer.execute(text("UPDATE recon_run SET state = 'signed_off' WHERE run_id = :id"), {"id": run_id})
    other.join()

    assert refused == ["recon.signed_off"]
