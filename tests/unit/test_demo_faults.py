"""What was done on purpose held against what was found."""

from __future__ import annotations

from datetime import date

import pytest

from hub.demo.days_close import TOMORROW, Found, Item
from hub.demo.days_faults import Expected, compare, script
from sandbox.statements import FaultKind
from schemas.statement import BreakClass

DAYS = [date(2026, 11, 17), date(2026, 11, 18), date(2026, 11, 19)]
ITEM = Item("ANKANG", DAYS[0], "H44030000001", "S-1")


def found(first_as: BreakClass, ended_as: BreakClass | None = None, how: str = "") -> Found:
    return Found(ITEM, "ANKANG", first_as, ended_as or first_as, None, None, 0, how)


def test_what_was_done_and_found_under_its_class_matches():
    result = compare([Expected(ITEM, "wrong fen", BreakClass.AMOUNT)], {ITEM: found(BreakClass.AMOUNT)})

    assert result.exact
    assert len(result.matched) == 1


def test_a_row_that_came_late_counts_as_what_it_turned_out_to_be():
    late = found(BreakClass.MISSING_AT_INSURER, BreakClass.LATE_CUT_OFF, TOMORROW)

    assert compare([Expected(ITEM, "late row", BreakClass.LATE_CUT_OFF)], {ITEM: late}).exact


@pytest.mark.parametrize(
    ("expected", "there", "wrong"),
    [
        ([Expected(ITEM, "wrong fen", BreakClass.AMOUNT)], {}, "missed"),
        ([Expected(ITEM, "wrong fen", BreakClass.AMOUNT)], {ITEM: found(BreakClass.DUPLICATE)}, "wrongly"),
        ([], {ITEM: found(BreakClass.AMOUNT)}, "surplus"),
    ],
)
def test_whatever_else_is_found_or_not_is_named(expected, there, wrong):
    result = compare(expected, there)

    assert not result.exact
    assert len(getattr(result, wrong)) == 1


def test_what_explains_itself_needs_nobody_to_have_done_it():
    result = compare([], {ITEM: found(BreakClass.LATE_CUT_OFF)})

    assert result.exact
    assert len(result.by_themselves) == 1


def test_no_row_is_late_on_the_last_day_for_its_next_is_not_over():
    faults = [fault for some in script(DAYS).values() for fault in some]

    assert {fault.kind for fault in faults} == set(FaultKind)
    assert all(fault.day != DAYS[-1] for fault in faults if fault.kind is FaultKind.LATE_ROW)
