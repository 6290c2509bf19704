"""What may be said to a payer whose word is missing: every combination of abilities and situations, as a table."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.doubt import (
    Move,
    Situation,
    move_cancelling,
    move_in_doubt,
    move_reversing,
    not_found_counts_from,
)
from schemas.payer import Capabilities
from tests.support.builders import MOMENT

REPEAT, INQUIRE, REVERSE, PEOPLE = Move.REPEAT, Move.INQUIRE, Move.REVERSE, Move.PEOPLE
FLAGS = (False, True)
ABILITIES = [
    Capabilities(idempotent_submit=idempotent, inquiry=inquiry, reversal=reversal, cancel=cancel)
    for idempotent, inquiry, reversal, cancel in product(FLAGS, FLAGS, FLAGS, FLAGS)
]
SITUATIONS = [Situation(*flags) for flags in product(FLAGS, FLAGS, FLAGS)]

# idempotent, inquiry, reversal -> while the cashier waits, late and kept, late and reversed, to be undone
TABLE = {
    (True, True, True): (REPEAT, INQUIRE, REVERSE, REVERSE),
    (True, True, False): (REPEAT, INQUIRE, REVERSE, INQUIRE),
    (True, False, True): (REPEAT, REPEAT, REVERSE, REVERSE),
    (True, False, False): (REPEAT, REPEAT, REVERSE, REPEAT),
    (False, True, True): (INQUIRE, INQUIRE, REVERSE, REVERSE),
    (False, True, False): (INQUIRE, INQUIRE, REVERSE, INQUIRE),
    (False, False, True): (PEOPLE, REVERSE, REVERSE, REVERSE),
    (False, False, False): (PEOPLE, PEOPLE, PEOPLE, PEOPLE),
}


def able(can: Capabilities) -> tuple[bool, bool, bool]:
    return can.idempotent_submit, can.inquiry, can.reversal


@pytest.mark.parametrize("abilities", TABLE)
def test_the_table_of_moves(abilities):
    can = Capabilities(*abilities)
    waits, kept, reversed_ = Situation(False, True, True), Situation(False, False, True), Situation(False, False, False)

    moves = (*(move_in_doubt(one, can) for one in (waits, kept, reversed_)), move_reversing(can))

    assert moves == TABLE[abilities]


@pytest.mark.parametrize("can", ABILITIES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_claim_is_repeated_only_where_that_is_harmless(can, situation):
    if move_in_doubt(situation, can) is REPEAT:
        assert can.idempotent_submit or situation.trial
        assert situation.cashier_waits or not can.inquiry, "a late repeat could make a claim that never was"
    if move_reversing(can) is REPEAT:
        assert can.idempotent_submit
        assert not can.inquiry


@pytest.mark.parametrize("can", ABILITIES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_is_asked_that_the_payer_cannot_do(can, situation):
    possible = {
        INQUIRE: can.inquiry,
        Move.CANCEL: can.cancel,
        # Of a doubt it means "from now on undo it": by inquiry and cancel where the payer cannot reverse.
        REVERSE: can.reversal or can.inquiry or (can.idempotent_submit and can.cancel),
    }
    assert possible.get(move_in_doubt(situation, can), True)
    assert move_reversing(can) is not REVERSE or can.reversal
    assert move_reversing(can) in (REVERSE, INQUIRE, REPEAT, PEOPLE)
    assert {Move.CANCEL: can.cancel, REVERSE: can.reversal}.get(move_cancelling(can), True)


@pytest.mark.parametrize("can", ABILITIES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_people_are_asked_only_where_no_interface_helps(can, situation):
    if move_in_doubt(situation, can) is PEOPLE:
        assert not situation.trial
        assert not can.inquiry
        assert not can.idempotent_submit or not (can.cancel or situation.late_approval_stands)
        assert not can.reversal or situation.cashier_waits, "after the deadline a reversal ends it"
    if move_reversing(can) is PEOPLE:
        assert not can.reversal
        assert not can.cancel or not (can.inquiry or can.idempotent_submit)
    if move_cancelling(can) is PEOPLE:
        assert not can.cancel
        assert not can.reversal


@pytest.mark.parametrize("can", ABILITIES)
def test_a_trial_books_nothing_and_is_given_up_when_nobody_waits(can):
    for stands in FLAGS:
        assert move_in_doubt(Situation(True, True, stands), can) is REPEAT
        assert move_in_doubt(Situation(True, False, stands), can) is Move.GIVE_UP


def test_what_stands_is_cancelled_by_its_number_or_else_reversed():
    assert move_cancelling(Capabilities(reversal=True)) is Move.CANCEL
    assert move_cancelling(Capabilities(cancel=False, reversal=True)) is REVERSE


seconds = st.floats(0, 1e6)


@given(sent_ago_s=st.none() | seconds, window_s=st.floats(0.1, 86_400))
def test_a_first_not_found_never_counts(sent_ago_s, window_s):
    sent_at = None if sent_ago_s is None else MOMENT - timedelta(seconds=sent_ago_s)

    due = not_found_counts_from(MOMENT, sent_at, None, window_s)

    assert due is not None
    assert due >= MOMENT + timedelta(seconds=window_s)


@given(sent_s=st.none() | seconds, first_s=seconds, second_s=seconds, window_s=st.floats(0.1, 86_400))
def test_a_second_one_counts_a_window_after_the_first_and_after_the_last_sending(sent_s, first_s, second_s, window_s):
    at = [None if one is None else MOMENT + timedelta(seconds=one) for one in (sent_s, first_s, first_s + second_s)]
    sent_at, first_at, second_at = at
    window = timedelta(seconds=window_s)

    due = not_found_counts_from(second_at, sent_at, first_at, window_s)

    proven = second_at - first_at >= window and (sent_at is None or second_at - sent_at >= window)
    assert (due is None) == proven
    if due is not None:
        assert not_found_counts_from(due, sent_at, first_at, window_s) is None, "asked at that moment it counts"
