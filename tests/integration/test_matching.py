"""Matching against its table: every combination of what the sides have, under every switch, in a few runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from hub.recon.runs import Runs
from routing.schemes import Scheme
from store.database import open_engine
from tests.support.builders import BASIC, BASIC_RULE, COMMERCIAL_RULE, HOSPITAL, a_rule_book
from tests.support.matching_oracle import Switches, verdict
from tests.support.recon_books import (
    DAY,
    FixedClock,
    OneBook,
    Row,
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

AMOUNT, ACCOUNT = 10_000, 700


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url, pool_size=2)
    yield made
    made.dispose()


def books(amount: int = AMOUNT, account: int = ACCOUNT) -> dict[str, tuple[Row, ...]]:
    """What somebody may have of a share on the day."""
    one, back = settled(amount, account), refunded(amount, account)
    return {
        "absent": (),
        "settled": (one,),
        "both": (one, back),
        "refund": (back,),
        "netted": (settled(0),),
        "twice": (one, one),
        "both twice": (one, back, one, back),
        "settled twice, refunded": (one, one, back),
        "less": (settled(amount - 2, account),),
        "fund and account": (settled(amount + account, account),),
        "other account": (settled(amount, account + 5),),
        "in two parts": (settled(amount - 100, account), settled(100)),
        "less given back": (one, refunded(amount - 2, account)),
        "twice, differing": (one, settled(amount - 2, account)),
        "settled before, refunded": (settled(amount, account, apart=-1), back),
        "on the next day": (settled(amount, account, apart=1),),
        "again on the next day": (one, settled(amount, account, apart=1)),
        "refunded on the next day": (one, refunded(amount, account, apart=1)),
    }


HUB = ("absent", "settled", "both", "settled before, refunded", "on the next day", "refunded on the next day")
SWITCHES = {
    "plain": Switches(basic=True),
    "left-out": Switches(left_out=True, basic=True),
    "in-fund": Switches(in_fund=True, basic=True),
    "tolerant": Switches(tolerance=3, basic=True),
}


def shares() -> list[Share]:
    known = books()
    return [
        Share(f"S-{number}", BASIC, known[hub], known[theirs], known[hospital], undone_by=undone_by)
        for number, (hub, theirs, hospital, undone_by) in enumerate(combinations())
    ]


def combinations() -> Iterator[tuple[str, str, str, str]]:
    for hub, theirs in itertools.product(HUB, books()):
        for hospital in ("absent", "settled", "both", "less"):
            yield hub, theirs, hospital, "cancel"
        yield hub, theirs, "absent", "reversal"
    yield from (("settled", "settled", hospital, "cancel") for hospital in books())


def rule_book(**more: object) -> OneBook:
    """All of one payer's schemes are about the same shares, which no rule book that is checked may say."""
    schemes = (
        Scheme(party=BASIC, code="plain"),
        Scheme(party=BASIC, code="left-out", refunds="left_out"),
        Scheme(party=BASIC, code="in-fund", account="in_fund"),
        Scheme(party=BASIC, code="tolerant", tolerance_fen=3),
        Scheme(party=BASIC, code="two-sided", hospital="left_out"),
    )
    book = a_rule_book(BASIC_RULE, COMMERCIAL_RULE, **more)
    return OneBook(book.model_copy(update={"reconciliation": schemes}))


def test_every_combination_is_classed_as_the_table_says(engine: Engine) -> None:
    every = shares()
    with engine.begin() as connection:
        write_hub(connection, every)
        for apart in (-1, 0, 1):
            told = Told(HOSPITAL, hospital_lines(every, apart), apart=apart, by_payer=True)
            write_statement(connection, told)
            for code in (*SWITCHES, "two-sided"):
                write_statement(connection, Told(BASIC, payer_lines(every, apart), code, apart))
    runs = Runs(engine, rule_book(), FixedClock(), no_proposals)

    for code, switches in SWITCHES.items():
        result = runs.run(BASIC, code, DAY, "test")

        assert_as_the_table_says(engine, result.run_id, every, switches, hospital=True)
        assert sum(result.counts.values()) >= result.counts["matched"] > 0
    two_sided = runs.run(BASIC, "two-sided", DAY, "test")
    assert_as_the_table_says(engine, two_sided.run_id, every, Switches(basic=True), hospital=False)


def assert_as_the_table_says(
    engine: Engine, run_id: int, every: list[Share], switches: Switches, *, hospital: bool
) -> None:
    found = breaks_of(engine, run_id)
    wrong = []
    for share, combination in zip(every, combinations(), strict=True):
        expected = verdict(
            share.hub,
            share.theirs,
            share.hospital if hospital else None,
            switches,
            by_cancel=share.undone_by == "cancel",
        )
        name, state = found.get(share.key, ("", "explained"))
        if (name, state == "explained") != expected:
            wrong.append(f"{combination}: {name} {state}, not {expected}")
    assert not wrong, f"{len(wrong)} of {len(every)}:\n" + "\n".join(wrong[:40])
