"""True books agree with ours; one row removed or altered on any of them is found, and classed rightly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from hub.recon.runs import Runs
from store.database import open_engine
from tests.support.builders import COMMERCIAL, COMMERCIAL_RULE, HOSPITAL, OTHER_HOSPITAL, a_rule_book
from tests.support.recon_books import (
    DAY,
    FixedClock,
    OneBook,
    Row,
    Share,
    Told,
    breaks_of,
    hospital_lines,
    moved,
    no_proposals,
    payer_lines,
    refunded,
    settled,
    write_hub,
    write_statement,
)
from tests.support.seeds import chance_of, seeds

SHARES = 400
ROUNDS = 3
Expected = dict[str, str]
"""The class of each item that is not as it should be, by key."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url, pool_size=2)
    yield made
    made.dispose()


def a_true_share(number: int, chance: random.Random) -> Share:
    """Everybody has the same of it: settled, perhaps undone, or undone today and settled before."""
    amount, account = chance.randint(100, 900_000), chance.choice((0, 0, chance.randint(1, 9_000)))
    rows = chance.choice((
        (settled(amount, account),),
        (settled(amount, account),),
        (settled(amount, account), refunded(amount, account)),
        (settled(amount, account, apart=-1), refunded(amount, account)),
    ))  # fmt: skip
    known_by = chance.choice(("request_id", "reference", "settlement_no"))
    institution = chance.choice((HOSPITAL, OTHER_HOSPITAL))
    return Share(f"S-{number}", COMMERCIAL, rows, rows, rows, institution=institution, known_by=known_by)


def of_the_day(rows: tuple[Row, ...]) -> list[int]:
    return [index for index, row in enumerate(rows) if row.apart == 0]


def changed(rows: tuple[Row, ...], index: int, *by: Row) -> tuple[Row, ...]:
    return (*rows[:index], *by, *rows[index + 1 :])


def class_without(rows: tuple[Row, ...], index: int, missing: str) -> str:
    """What it is called when a book lacks this row: the refund, or the settlement."""
    return "status" if rows[index].refund else missing


def mutated(share: Share, chance: random.Random) -> tuple[Share, Expected]:
    """One row of one book removed, altered, doubled, put on another day or under another number."""
    side = chance.choice(("theirs", "hospital"))
    missing = "missing_at_insurer" if side == "theirs" else "missing_at_hospital"
    rows: tuple[Row, ...] = getattr(share, side)
    index = chance.choice(of_the_day(rows))
    row = rows[index]
    kind = chance.choice(("remove", "alter", "alter account", "double", "later", "other number"))
    if kind == "remove":
        return replace(share, **{side: changed(rows, index)}), {share.key: class_without(rows, index, missing)}
    if kind in ("alter", "alter account"):
        step = chance.choice((1, 10, 999)) * (-1 if row.refund else 1)
        column = "amount" if kind == "alter" else "account"
        other = replace(row, **{column: getattr(row, column) + step})
        return replace(share, **{side: changed(rows, index, other)}), {share.key: "amount"}
    if kind == "double":
        return replace(share, **{side: changed(rows, index, row, row)}), {share.key: "duplicate"}
    if kind == "later":
        return replace(share, **{side: changed(rows, index, moved(row, 1))}), {share.key: "late_cut_off"}
    return _under_another_number(share)


def _under_another_number(share: Share) -> tuple[Share, Expected]:
    """The payer's rows name something that nobody knows: they are missing there, and what they name is missing here.

    What is settled and undone by now, today or since yesterday, stands under neither number.
    """
    there, here = "missing_at_insurer", "missing_at_hub"
    if any(row.refund for row in share.theirs):
        same_day = all(row.apart == 0 for row in share.theirs)
        there, here = "refund_as_two_rows" if same_day else "reversed_pair", "reversed_pair"
    return replace(share, known_by="ODD"), {share.key: there, f"line/ODD-{share.no}": here}


@pytest.fixture
def runs(engine: Engine) -> Callable[[], tuple[dict[str, tuple[str, str]], dict[str, int]]]:
    made = Runs(engine, OneBook(a_rule_book(COMMERCIAL_RULE)), FixedClock(), no_proposals)  # type: ignore[arg-type]

    def run() -> tuple[dict[str, tuple[str, str]], dict[str, int]]:
        result = made.run(COMMERCIAL, "daily", DAY, "test")
        return breaks_of(engine, result.run_id), dict(result.counts)

    return run


def tell(engine: Engine, shares: list[Share]) -> None:
    """Everybody's statements of the day and its neighbours."""
    with engine.begin() as connection:
        for apart in (-1, 0, 1):
            write_statement(connection, Told(COMMERCIAL, payer_lines(shares, apart), apart=apart))
            for code in (HOSPITAL, OTHER_HOSPITAL):
                mine = [share for share in shares if share.institution == code]
                write_statement(connection, Told(code, hospital_lines(mine, apart), apart=apart, by_payer=True))


@pytest.mark.parametrize("seed", seeds(20261122, soak=30))
def test_true_books_agree_and_one_changed_row_is_found_and_classed(
    engine: Engine, runs: Callable[[], tuple[dict[str, tuple[str, str]], dict[str, int]]], seed: int | None
) -> None:
    chance = chance_of(seed)
    true = [a_true_share(number, chance) for number in range(SHARES)]
    with engine.begin() as connection:
        write_hub(connection, true)
    tell(engine, true)

    assert runs() == ({}, {"matched": SHARES})

    for _ in range(ROUNDS):
        touched = set(chance.sample(range(SHARES), SHARES // 2))
        told, expected = [], {}
        for number, share in enumerate(true):
            other, found = mutated(share, chance) if number in touched else (share, {})
            told.append(other)
            expected |= found
        tell(engine, told)

        breaks, counts = runs()

        assert {key: name for key, (name, _) in breaks.items()} == expected
        assert counts["matched"] == SHARES - len(touched)
