"""Settlements of an institution beside ours, one by one."""

from __future__ import annotations

from datetime import date

from hub.clearing import compare
from schemas.clearing import CheckedCase, Difference
from store.clearing import Booked

DAY = date(2026, 3, 2)


def test_a_settlement_that_was_written_off_and_undone_is_told_with_what_stands_of_it():
    ours = {"S-1": Booked(DAY, 30_000, -7_500, 0, cancelled=True)}
    theirs = CheckedCase.model_validate(
        {"settlement_no": "S-1", "total": "300.00", "payers_paid": "75.00", "cash": "225.00"}
    )

    (found,) = compare((theirs,), ours, lambda _: True)

    assert (found.kind, found.ours, found.theirs) == (Difference.STATE, -7_500, 7_500)
