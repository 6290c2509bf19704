"""What a payer's word on one settlement means for its books of a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from hub.recon.case_by_case import lines_of
from schemas.codes import Outcome
from schemas.payer import Decision
from store.statement_facts import SharesOfDay
from tests.support.builders import a_case

DAY = date(2026, 3, 9)
NOON = datetime(2026, 3, 9, 4, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)


def told(decision: Decision, *, settled: date | None = DAY, undone: date | None = None) -> list[tuple[str, int]]:
    case = a_case()
    share = SharesOfDay(case.case_id, 1, settled, undone, 5_000, 300)
    return [(line.kind.value, line.amount) for line in lines_of(case, share, decision, DAY)]


@pytest.mark.parametrize(
    ("decision", "days", "lines"),
    [
        (Decision(Outcome.APPROVED, 5_000, decided_at=NOON), {}, [("settle", 5_000)]),
        (Decision(Outcome.APPROVED, 4_999, decided_at=NOON), {}, [("settle", 4_999)]),
        (Decision(Outcome.APPROVED, 5_000, decided_at=NOON + A_DAY), {}, []),
        (Decision(Outcome.APPROVED, 5_000), {}, [("settle", 5_000)]),
        (Decision(Outcome.APPROVED, 5_000), {"settled": DAY - A_DAY}, []),
        (Decision(Outcome.DECLINED), {}, []),
        (Decision(Outcome.NOT_FOUND), {}, []),
        (Decision(Outcome.CANCELLED, 5_000, decided_at=NOON), {}, [("settle", 5_000), ("refund", -5_000)]),
        (Decision(Outcome.CANCELLED), {"undone": DAY}, [("settle", 5_000), ("refund", -5_000)]),
        (Decision(Outcome.CANCELLED), {"undone": DAY + A_DAY}, [("settle", 5_000)]),
        (Decision(Outcome.CANCELLED, 5_000, decided_at=NOON), {"settled": DAY - A_DAY}, [("refund", -5_000)]),
    ],
    ids=[
        "stands",
        "stands with another amount",
        "decided on another day",
        "no moment: our day",
        "no moment: our other day",
        "declined",
        "never heard of",
        "undone on the day",
        "undone, without amount and moment",
        "undone later",
        "undone, settled before",
    ],
)
def test_a_word_stands_for_rows_of_its_day(decision, days, lines):
    assert told(decision, **days) == lines
