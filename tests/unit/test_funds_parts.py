"""What claims come to, and how orders move: whatever the amounts, nothing is lost or made."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis.strategies import builds, integers, just, lists, sampled_from

from hub.funds.audits import Sample, deducted
from hub.funds.files import content_of
from routing.funds import WHOLE, Part, Transfer, confirmed, ordered, withheld
from routing.postings import Account, Kind
from store.fund_audits import Deduction

FENS = integers(-(10**9), 10**9)
PARTS = lists(
    builds(Part, just("440300"), just("commercial"), sampled_from("abcdef"), FENS, integers(-(10**6), 10**6)),
    max_size=6,
    unique_by=lambda part: part.product,
)


def a_deduction(fen: int, product: str = "", case_id: str | None = None) -> Deduction:
    key = ("440300", "commercial", product) if case_id else ("", "", "")
    leg_no = 1 if case_id else None
    return Deduction(1, case_id, leg_no, "S-1", *key, fen, "A01", "r", "li", datetime(2026, 3, 2, tzinfo=UTC))


def moved(transfers: list[Transfer]) -> Counter[Account]:
    """What stands on each account afterwards."""
    sums: Counter[Account] = Counter()
    for one in transfers:
        sums[one.debit] += one.amount_fen
        sums[one.credit] -= one.amount_fen
    return sums


@given(PARTS, integers(0, WHOLE))
def test_what_is_held_back_is_the_share_of_what_is_left_to_the_fen(parts, basis_points):
    held = withheld(parts, basis_points)
    left = max(0, sum(part.amount_fen for part in parts))

    assert sum(part.withheld_fen for part in held) == (2 * left * basis_points + WHOLE) // (2 * WHOLE)
    assert all(0 <= part.withheld_fen <= max(0, part.amount_fen) for part in held)
    assert [part.key for part in held] == [part.key for part in parts]


@given(PARTS, lists(integers(1, 10**6), max_size=3), lists(integers(-(10**6), 10**6).filter(bool), max_size=3))
def test_deductions_are_taken_from_parts_whole(parts, of_the_whole, of_settlements):
    cuts = [a_deduction(fen) for fen in of_the_whole] + [a_deduction(fen, "x", "c-1") for fen in of_settlements]

    found = deducted(parts, cuts)

    assert sum(part.deducted_fen for part in found) == sum(of_the_whole) + sum(of_settlements)
    assert sum(part.amount_fen for part in found) == sum(part.amount_fen for part in parts)


@given(lists(integers(1, 5), min_size=1, max_size=6), integers(0, WHOLE), integers(0, 100))
def test_nothing_is_taken_from_a_part_that_it_does_not_have(fens, basis_points, percent):
    """Of parts of a few fen, where every fen left over shows."""
    parts = [Part("440300", "commercial", str(number), fen) for number, fen in enumerate(fens)]
    refused = sum(fens) * percent // 100

    found = withheld(deducted(parts, [a_deduction(refused)] if refused else []), basis_points)

    assert sum(part.deducted_fen for part in found) == refused
    assert all(0 <= part.deducted_fen <= part.amount_fen and part.share_fen >= 0 for part in found)


@given(PARTS)
def test_an_order_moves_what_is_payable_and_its_confirmation_the_same(parts):
    on_its_way, come = ordered(parts), confirmed(ordered(parts))
    payable = sum(part.payable_fen for part in parts)
    sums = moved(on_its_way + come)

    assert moved(on_its_way)[Account.IN_TRANSIT] == payable
    assert (sums[Account.IN_TRANSIT], sums[Account.BANK]) == (0, payable)
    assert sums[Account.RECEIVABLE] + sums[Account.PERSONAL] == -payable
    assert all(one.amount_fen > 0 for one in on_its_way + come)
    assert {one.kind for one in on_its_way + come} <= {Kind.PAYMENT, Kind.CONFIRMATION, Kind.REPAYMENT}
    assert not any(moved(on_its_way + [one.back() for one in on_its_way]).values())


@given(integers(0, 10**6), integers(0, WHOLE))
def test_a_sample_is_as_large_as_its_share_rounded_up(population, basis_points):
    size = Sample("s", basis_points=basis_points).size(population)

    assert size == min(100_000, -(-population * basis_points // WHOLE))
    assert Sample("s", count=5).size(population) == min(5, population)


def test_an_empty_payment_file_declares_nothing():
    content, _ = content_of("CICI", [])

    assert (
        content.decode().splitlines()[1].startswith("payment_no,institution,institution_name,amount,currency,claims,")
    )
    assert content.startswith(b"#settlement-hub-payments,1,CICI,0,0.00,")
