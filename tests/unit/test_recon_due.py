"""Which comparisons the hub makes by itself, and which statements it misses."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

from hub.recon.continuous_due import BACK_DAYS, Due, days_to_read, due_days, due_work
from routing.days import CHINA_STANDARD_TIME
from routing.schemes import Scheme
from store.recon_watch import Days, MadeRun, Standing
from tests.support.builders import BASIC, BASIC_RULE, CRITICAL, CRITICAL_RULE, HOSPITAL, a_rule_book

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 9, 30, tzinfo=CHINA_STANDARD_TIME)
SEALED = DAY - timedelta(days=1)


def days(*booked: str, **changes: Any) -> Days:
    values: dict[str, Any] = {"standing": (), "runs": (), "senders": frozenset()}
    return Days(frozenset((DAY, code) for code in booked), **values | changes)


def a_standing(party: str, statement_id: int = 1, minutes: float = -30) -> Standing:
    return Standing(party, "daily", DAY, statement_id, NOW + timedelta(minutes=minutes))


def a_run(party: str, state: str = "done", *seen: int, touched: bool = False, minutes: float = -20) -> MadeRun:
    return MadeRun(party, "daily", DAY, 1, state, NOW + timedelta(minutes=minutes), seen, touched)


def names(found: list[Due] | tuple[Due, ...] | Any) -> list[str]:
    return [due.scheme.party for due in found]


def due(found: Days, **book: Any) -> tuple[list[str], list[str]]:
    work = due_work(a_rule_book(**book), found, NOW, SEALED)
    return names(work.runs), names(work.late)


@pytest.mark.parametrize(
    ("found", "runs", "late"),
    [
        (days(), [], []),
        (days(BASIC, CRITICAL, HOSPITAL), [BASIC, CRITICAL], []),
        (days(BASIC, senders=frozenset({BASIC})), [BASIC], [BASIC]),
        (days(HOSPITAL, senders=frozenset({HOSPITAL})), [HOSPITAL], [HOSPITAL]),
        (days(senders=frozenset({HOSPITAL})), [], []),
        (days(standing=[a_standing(HOSPITAL)]), [HOSPITAL], []),
        (days(BASIC, runs=[a_run(BASIC)]), [], []),
        (days(BASIC, runs=[a_run(BASIC, "failed")]), [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC, "running")]), [], []),
        (days(BASIC, runs=[a_run(BASIC, "signed_off")], senders=frozenset({BASIC})), [], []),
        (days(BASIC, runs=[a_run(BASIC, "done", 1)], standing=[a_standing(BASIC)]), [], []),
        (days(BASIC, runs=[a_run(BASIC)], standing=[a_standing(BASIC, minutes=-10)]), [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC)], standing=[a_standing(BASIC, minutes=-25)]), [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC)], standing=[a_standing(BASIC, minutes=-50)]), [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC, "done", 2)], standing=[a_standing(BASIC, minutes=-9_000)]), [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC, touched=True)], standing=[a_standing(BASIC, minutes=-10)]), [], []),
        (days(BASIC, runs=[a_run(BASIC), a_run(HOSPITAL, "done", 1)], standing=[a_standing(HOSPITAL, minutes=-10)]),
         [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC), a_run(HOSPITAL, "done", 1)], standing=[a_standing(HOSPITAL, minutes=-25)]),
         [BASIC], []),
        (days(BASIC, runs=[a_run(BASIC), a_run(HOSPITAL, "done", 1)], standing=[a_standing(HOSPITAL, minutes=-50)]),
         [], []),
        (days(BASIC, runs=[a_run(BASIC, "done", 1), a_run(HOSPITAL, "done", 1)],
              standing=[a_standing(HOSPITAL, minutes=-25)]), [], []),
        (days(BASIC, runs=[a_run(BASIC)], standing=[a_standing(CRITICAL, minutes=-10)]), [CRITICAL], []),
    ],
)  # fmt: skip
def test_what_is_due_follows_from_what_is_on_record(found: Days, runs: list[str], late: list[str]) -> None:
    assert due(found) == (runs, late)


def test_a_party_whose_way_is_declared_is_expected() -> None:
    declared = {"reconciliation": [{"party": HOSPITAL}]}

    assert due(days(HOSPITAL), **declared) == ([HOSPITAL], [HOSPITAL])
    assert due(days(HOSPITAL)) == ([], [])


def test_books_that_are_agreed_to_come_are_compared_though_they_are_empty() -> None:
    agreed = {"reconciliation": [{"party": CRITICAL, "statement": "pulled"}]}

    assert due(days(BASIC), **agreed) == ([BASIC, CRITICAL], [CRITICAL])
    assert due(days(), **agreed) == ([], [])


def test_hospitals_statements_do_not_matter_to_a_scheme_that_leaves_them_out() -> None:
    found = days(BASIC, runs=[a_run(BASIC), a_run(HOSPITAL, "done", 1)], standing=[a_standing(HOSPITAL, minutes=-10)])

    assert due(found, reconciliation=[{"party": BASIC, "hospital": "left_out"}]) == ([], [BASIC])
    assert due(found, reconciliation=[{"party": BASIC}]) == ([BASIC], [BASIC])


def test_a_statement_that_is_pulled_is_fetched_until_it_is_there() -> None:
    pulled = {"reconciliation": [{"party": CRITICAL, "statement": "pulled"}]}

    first = due_work(a_rule_book(**pulled), days(CRITICAL), NOW, SEALED).runs
    again = due_work(a_rule_book(**pulled), days(CRITICAL, runs=[a_run(CRITICAL)]), NOW, SEALED).runs

    assert [(one.pull, one.anew) for one in (*first, *again)] == [(True, False), (True, True)]
    assert due(days(CRITICAL, standing=[a_standing(CRITICAL)], runs=[a_run(CRITICAL, "done", 1)]), **pulled) == ([], [])


def test_a_product_of_the_hubs_own_is_compared_with_nobody() -> None:
    own = {"code": BASIC, "kind": "insurer", "name": {"zh": "自营", "en": "own"}, "adapter": "insurer.hosted"}
    rules = (BASIC_RULE, CRITICAL_RULE)

    assert names(due_work(a_rule_book(*rules, parties=[own]), days(BASIC), NOW, SEALED).runs) == []


def test_days_are_due_at_their_time_and_sealed_ones_are_over() -> None:
    scheme = Scheme(party=BASIC, due_at=time(9, 30))
    early = NOW - timedelta(seconds=1)

    assert due_days(scheme, NOW, None) == [DAY - timedelta(days=back) for back in reversed(range(BACK_DAYS))]
    assert due_days(scheme, early, None)[-1] == DAY - timedelta(days=1)
    assert due_days(scheme, NOW, SEALED) == [DAY]
    assert due_days(scheme, NOW, DAY) == []
    assert days_to_read(a_rule_book(), NOW, SEALED) == [DAY]
