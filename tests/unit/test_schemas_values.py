"""Money, identity numbers and strict JSON as values, over everything that could be written."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.answer import CombinedAnswer
from schemas.codes import CaseStatus, ShareState
from schemas.errors import Malformed
from schemas.identity import check_character, id_card_problem
from schemas.money import (
    MONEY_MAX_FEN,
    Money,
    SignedMoney,
    fen_of,
    rounded_fen,
    share_fen,
    signed_fen_of,
    split_fen,
    split_within,
    yuan_of,
)
from schemas.strict_json import check_text
from schemas.texts import CASE_MESSAGES, ERRORS, NEXT_STEPS, REASONS
from tests.support.builders import MOMENT

fens = st.integers(0, MONEY_MAX_FEN - 1)


@given(fens)
def test_money_comes_back_as_it_went(fen):
    money = TypeAdapter(Money)

    assert fen_of(yuan_of(fen)) == fen
    assert money.validate_json(money.dump_json(fen)) == fen
    assert money.validate_python(fen) == fen


@given(st.integers(-MONEY_MAX_FEN + 1, MONEY_MAX_FEN - 1))
def test_signed_money_comes_back_as_it_went(fen):
    money = TypeAdapter(SignedMoney)

    assert signed_fen_of(yuan_of(fen)) == fen
    assert money.validate_json(money.dump_json(fen)) == fen


@pytest.mark.parametrize(
    ("text", "fen"), [("0", 0), ("7", 700), ("7.5", 750), ("007.05", 705), ("99999999999.99", 10**13 - 1)]
)
def test_money_is_read(text, fen):
    assert fen_of(text) == TypeAdapter(Money).validate_python(text) == fen


@pytest.mark.parametrize("value", [-1, MONEY_MAX_FEN, 1.0, True, None, "-1", "-0", "1\n", Decimal("1")])
def test_no_other_value_is_money(value):
    with pytest.raises(ValidationError):
        TypeAdapter(Money).validate_python(value)


@pytest.mark.parametrize("text", ["-0", "-0.00", "--1", "+1", "-", ""])
def test_minus_zero_and_other_signs_are_no_signed_money(text):
    with pytest.raises(ValidationError):
        TypeAdapter(SignedMoney).validate_python(text)


@given(st.decimals(0, 10**10, places=6), st.decimals(0, 99, places=4))
def test_a_line_is_rounded_halves_up_from_the_exact_product(price, quantity):
    exact = price.as_integer_ratio(), quantity.as_integer_ratio()
    numerator, denominator = exact[0][0] * exact[1][0] * 100, exact[0][1] * exact[1][1]

    assert rounded_fen(price * quantity) == (2 * numerator + denominator) // (2 * denominator)


@pytest.mark.parametrize(
    ("yuan", "fen"), [("0.005", 1), ("0.0049999", 0), ("2.675", 268), ("-0.005", -1), ("1.015", 102)]
)
def test_halves_are_rounded_away_from_zero(yuan, fen):
    assert rounded_fen(Decimal(yuan)) == fen


@given(fens, st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_share_is_the_fraction_rounded_halves_up(amount, numerator, denominator):
    exact = Decimal(amount * numerator) / denominator
    if amount * numerator < 10**20:
        assert share_fen(amount, numerator, denominator) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(fens, st.lists(st.integers(0, 10_000), min_size=1, max_size=10).filter(any))
def test_parts_add_up_and_none_is_off_by_more_than_the_remainder(amount, weights):
    parts = split_fen(amount, weights)

    assert sum(parts) == amount
    assert min(parts) >= 0
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        assert part == amount * weight // sum(weights)
    assert 0 <= parts[0] - amount * weights[0] // sum(weights) < len(weights)


@pytest.mark.parametrize("weights", [[], [0, 0], [3, -1]])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError):
        split_fen(100, weights)


rooms = st.lists(st.one_of(st.integers(0, 3), fens), min_size=1, max_size=10).filter(any)


@given(st.data(), rooms)
def test_parts_within_rooms_add_up_and_none_is_larger_than_its_room(data, given_rooms):
    amount = data.draw(st.one_of(st.integers(0, sum(given_rooms)), st.just(sum(given_rooms) - 1)))
    parts = split_within(amount, given_rooms)

    assert sum(parts) == amount
    for part, room in zip(parts, given_rooms, strict=True):
        assert 0 <= part <= room
        assert abs(part * sum(given_rooms) - amount * room) < sum(given_rooms), "less than a fen off its share"


@given(fens, rooms)
def test_parts_add_up_where_the_rooms_are_too_small_too(amount, given_rooms):
    assert sum(split_within(amount, given_rooms)) == amount


@pytest.mark.parametrize(("amount", "given_rooms"), [(1, []), (1, [0, 0]), (1, [3, -1]), (-1, [3])])
def test_rooms_that_mean_nothing_are_refused(amount, given_rooms):
    with pytest.raises(ValueError):
        split_within(amount, given_rooms)


card_bodies = st.builds(
    lambda area, day, order: f"{area}{day:%Y%m%d}{order:03d}",
    st.integers(110000, 659999),
    st.dates(min_value=date(1900, 1, 1)),
    st.integers(0, 999),
)


@given(card_bodies)
def test_a_number_with_its_check_character_is_right(body):
    assert id_card_problem(body + check_character(body)) is None


@given(card_bodies, st.integers(0, 17), st.sampled_from("0123456789"))
def test_one_wrong_digit_is_always_found(body, place, digit):
    number = body + check_character(body)
    wrong = number[:place] + digit + number[place + 1 :]

    assert wrong == number or id_card_problem(wrong) is not None


@given(card_bodies, st.integers(0, 15))
def test_two_neighbours_that_changed_places_are_always_found(body, place):
    number = body + check_character(body)
    wrong = number[:place] + number[place + 1] + number[place] + number[place + 2 :]

    assert wrong == number or id_card_problem(wrong) is not None


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_has_a_problem(text):
    problem = id_card_problem(text)

    assert problem is None or text not in problem or len(text) < 4


KEYS = st.text(st.sampled_from('ab":\\ \t{,u0061é中'), max_size=4)
LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | KEYS


def spaced(chance, text: str) -> str:
    return chance.draw(st.sampled_from(["", " ", "\n", "\t \r\n"])) + text


def quoted(chance, text: str) -> str:
    if chance.draw(st.booleans()):
        return json.dumps(text, ensure_ascii=chance.draw(st.booleans()))
    return '"' + "".join(f"\\u{ord(one):04x}" for one in text) + '"'


def written(chance, pairs, *, depth: int = 0) -> tuple[str, bool]:
    """JSON text of an object with these pairs, and whether a key is in it twice."""
    twice = len({key for key, _ in pairs}) < len(pairs)
    parts = []
    for key, value in pairs:
        if isinstance(value, list):
            inner, below = written(chance, value, depth=depth + 1)
            if chance.draw(st.booleans()):
                inner = f"[{inner}, 1]"
            twice = twice or below
        else:
            inner = quoted(chance, value) if isinstance(value, str) else json.dumps(value)
        parts.append(f"{spaced(chance, quoted(chance, key))}{spaced(chance, ':')}{spaced(chance, inner)}")
    return "{" + ",".join(parts) + "}", twice


OBJECTS = st.recursive(
    st.lists(st.tuples(KEYS, LEAVES), max_size=3),
    lambda inner: st.lists(st.tuples(KEYS, LEAVES | inner), max_size=3),
    max_leaves=6,
)


@given(OBJECTS, st.data())
def test_a_key_twice_anywhere_is_refused_and_nothing_else_is(pairs, chance):
    text, twice = written(chance, pairs)

    if twice:
        with pytest.raises(Malformed):
            check_text(text.encode())
    else:
        assert check_text(text.encode()) == json.loads(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused_never_crashed_on(raw):
    with suppress(Malformed):
        check_text(raw)


@pytest.mark.parametrize("depth", [31, 32])
def test_nesting_up_to_the_limit_is_read(depth):
    assert check_text(b"[" * depth + b"]" * depth)


def test_deeper_nesting_is_refused():
    with pytest.raises(Malformed):
        check_text(b"[" * 34 + b"]" * 34)


def test_an_answer_that_does_not_add_up_cannot_be_made():
    parts = {"account": 0, "hospital_borne": 0, "cash": 99, "deferred": 0, "total": 100, "shares": ()}

    with pytest.raises(ValidationError):
        CombinedAnswer(
            case_id="c",
            institution="i",
            settlement_no="s",
            status=CaseStatus.SETTLED,
            revision=1,
            final=True,
            answered_at=MOMENT,
            message=CASE_MESSAGES[CaseStatus.SETTLED],
            **parts,
        )


def test_every_text_people_read_has_both_languages():
    assert set(CASE_MESSAGES) == set(CaseStatus)
    # A share that was reversed while its case went on is the patient's to claim.
    to_do = {ShareState.DEFERRED, ShareState.IN_DOUBT, ShareState.PENDING, ShareState.HELD, ShareState.CANCELLED}
    assert to_do == set(NEXT_STEPS)
    for texts in (CASE_MESSAGES, REASONS, NEXT_STEPS, ERRORS):
        assert all(text.zh and text.en for text in texts.values())
