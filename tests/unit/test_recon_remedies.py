"""The table of remedies, row by row: the same rows as in docs/how-to/reconciliation-remedies.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.recon.remedies_apply import BREAKS_MAX, Decision, as_proposed, decisions_of, detail_of
from hub.recon.remedies_table import DIFFERENCE_MAX_FEN, Able, Facts, LegFacts, Side, decide
from routing.states import CaseState, LegState
from schemas.codes import Layer
from schemas.errors import InvalidMessage
from schemas.statement import EXPLAINED, BreakClass, Remedy

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "reconciliation-remedies.md"
C, S, R = BreakClass, LegState, Remedy
NOTHING, ONCE, REFUND, PAIR = Side(), Side(1, 0, 7_500), Side(0, 1, 0, -7_500), Side(1, 1, 7_500, -7_500)
EVERYTHING = Able(inquire=True, reverse=True)
UNABLE = Able(inquire=False, reverse=False, undo_again=False)


def a_leg(state: LegState, **changes) -> LegFacts:
    values = {"layer": Layer.COMMERCIAL, "case_state": CaseState.SETTLED, "unclaimed_fen": 15_000}
    return LegFacts(state, **values | changes)


def facts(break_class: BreakClass, leg: LegFacts | LegState | None = None, **changes) -> Facts:
    values = {
        "hub": NOTHING,
        "payer": NOTHING,
        "hospital": None,
        "leg": a_leg(leg) if isinstance(leg, LegState) else leg,
        "known": leg is not None,
        "answered": True,
        "revisions": 1,
        "has_reference": True,
        "able": EVERYTHING,
    }
    return Facts(break_class, **values | changes)


ROWS = [
    # not due, explained
    (facts(C.NOT_YET_DUE, S.APPROVED), R.NONE),
    (facts(C.NOT_YET_DUE, S.IN_DOUBT), R.INQUIRE),
    (facts(C.NOT_YET_DUE, S.IN_DOUBT, able=UNABLE), R.PEOPLE),
    (facts(C.NOT_YET_DUE, a_leg(S.DEFERRED, recorded=True)), R.NONE),
    (facts(C.NOT_YET_DUE, S.DEFERRED), R.PEOPLE),
    *((facts(one, S.APPROVED), R.NONE) for one in sorted(EXPLAINED - {C.NOT_YET_DUE})),
    # the payer has it and we do not: nothing was decided here
    (facts(C.MISSING_AT_HUB, S.IN_DOUBT, payer=ONCE), R.CONFIRM),
    (facts(C.MISSING_AT_HUB, S.HELD, payer=ONCE), R.CONFIRM),
    (facts(C.MISSING_AT_HUB, S.DEFERRED, payer=ONCE), R.CONFIRM),
    (facts(C.MISSING_AT_HUB, a_leg(S.IN_DOUBT, unclaimed_fen=7_500), payer=ONCE), R.CONFIRM),
    (facts(C.MISSING_AT_HUB, a_leg(S.IN_DOUBT, unclaimed_fen=7_499), payer=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, S.IN_DOUBT, payer=ONCE, has_reference=False), R.INQUIRE),
    (facts(C.MISSING_AT_HUB, S.IN_DOUBT, payer=ONCE, has_reference=False, able=UNABLE), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, S.DEFERRED, payer=ONCE, has_reference=False), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, S.IN_DOUBT, payer=Side(2, 0, 7_500)), R.INQUIRE),
    (facts(C.MISSING_AT_HUB, a_leg(S.IN_DOUBT, layer=Layer.BASIC), payer=ONCE), R.INQUIRE),
    (facts(C.MISSING_AT_HUB, a_leg(S.HELD, layer=Layer.BASIC), payer=ONCE), R.PEOPLE),
    # nobody wants it any more
    (facts(C.MISSING_AT_HUB, a_leg(S.DEFERRED, case_state=CaseState.CANCELLED), payer=ONCE), R.REVERSE),
    (facts(C.MISSING_AT_HUB, a_leg(S.IN_DOUBT, case_state=CaseState.CANCELLING), payer=ONCE), R.REVERSE),
    (facts(C.MISSING_AT_HUB, a_leg(S.DEFERRED, case_state=CaseState.DECLINED), payer=ONCE), R.REVERSE),
    (facts(C.MISSING_AT_HUB, S.DEFERRED, payer=ONCE, able=Able(True, True, late_stands=False)), R.REVERSE),
    (facts(C.MISSING_AT_HUB, a_leg(S.DEFERRED, case_state=CaseState.CANCELLED), payer=ONCE, able=UNABLE), R.PEOPLE),
    # it has ended here
    *((facts(C.MISSING_AT_HUB, one, payer=ONCE), R.REVERSE) for one in (S.DECLINED, S.CANCELLED, S.REVERSED)),
    *((facts(C.STATUS, one, payer=ONCE, hub=PAIR), R.REVERSE) for one in (S.DECLINED, S.CANCELLED, S.REVERSED)),
    (facts(C.STATUS, S.CANCELLED, payer=ONCE, hub=PAIR, able=UNABLE), R.PEOPLE),
    (facts(C.STATUS, S.CANCELLED, hub=REFUND), R.REVERSE),
    (facts(C.STATUS, S.APPROVED, hub=REFUND), R.PEOPLE),
    # an undo of it is under way
    *((facts(C.MISSING_AT_HUB, one, payer=ONCE), R.INQUIRE) for one in (S.CANCELLING, S.CANCEL_HELD, S.REVERSING)),
    (facts(C.MISSING_AT_HUB, S.CANCEL_HELD, payer=ONCE, able=UNABLE), R.PEOPLE),
    (facts(C.STATUS, S.CANCEL_HELD, payer=PAIR, hub=ONCE), R.CONFIRM),
    (facts(C.STATUS, S.CANCELLING, payer=REFUND), R.CONFIRM),
    (facts(C.MISSING_AT_INSURER, S.CANCEL_HELD, hub=ONCE), R.CONFIRM),
    # the payer was never asked, or nobody knows the case
    (facts(C.MISSING_AT_HUB, a_leg(S.DEFERRED, recorded=True), payer=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, None, payer=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, S.APPROVED, payer=ONCE), R.PEOPLE),
    (facts(C.STATUS, None, payer=ONCE, hub=PAIR), R.PEOPLE),
    # we have it and the payer does not
    (facts(C.MISSING_AT_INSURER, S.APPROVED, hub=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_BASIC, S.APPROVED, hub=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_INSURER, S.IN_DOUBT, hub=ONCE), R.INQUIRE),
    (facts(C.MISSING_AT_INSURER, S.IN_DOUBT, hub=ONCE, able=UNABLE), R.PEOPLE),
    (facts(C.MISSING_AT_INSURER, S.HELD, hub=ONCE), R.PEOPLE),
    (facts(C.MISSING_AT_INSURER, None, hub=ONCE), R.PEOPLE),
    (facts(C.STATUS, S.APPROVED, payer=PAIR, hub=ONCE), R.PEOPLE),
    (facts(C.STATUS, S.APPROVED, payer=REFUND), R.PEOPLE),
    (facts(C.STATUS, S.DECLINED, payer=REFUND), R.PEOPLE),
    # the hospital
    (facts(C.MISSING_AT_HOSPITAL, S.APPROVED, hub=ONCE, hospital=NOTHING), R.RESEND_ANSWER),
    (facts(C.MISSING_AT_HOSPITAL, S.APPROVED, hub=ONCE, hospital=NOTHING, answered=False), R.PEOPLE),
    (facts(C.MISSING_AT_HOSPITAL, None, hub=ONCE, hospital=NOTHING), R.PEOPLE),
    (facts(C.MISSING_AT_HUB, S.DECLINED, payer=None, hospital=ONCE), R.RESEND_ANSWER),
    (facts(C.MISSING_AT_HUB, S.IN_DOUBT, payer=None, hospital=ONCE), R.INQUIRE),
    (facts(C.MISSING_AT_HUB, None, payer=None, hospital=ONCE), R.PEOPLE),
    (facts(C.STATUS, S.CANCELLED, hub=PAIR, payer=PAIR, hospital=ONCE), R.RESEND_ANSWER),
    (facts(C.STATUS, S.APPROVED, hub=ONCE, payer=ONCE, hospital=PAIR), R.PEOPLE),
    # amounts
    (facts(C.AMOUNT, S.APPROVED, hub=ONCE, payer=Side(1, 0, 7_500 - DIFFERENCE_MAX_FEN)), R.POST_DIFFERENCE),
    (facts(C.AMOUNT, S.APPROVED, hub=ONCE, payer=Side(1, 0, 7_499 - DIFFERENCE_MAX_FEN)), R.PEOPLE),
    (facts(C.AMOUNT, S.APPROVED, hub=ONCE, payer=Side(1, 0, 7_501)), R.PEOPLE),
    (facts(C.AMOUNT, S.CANCELLING, hub=ONCE, payer=Side(1, 0, 7_499)), R.PEOPLE),
    (facts(C.AMOUNT, S.APPROVED, hub=Side(1, 0, 7_000, 0, 501), payer=ONCE, in_fund=True), R.POST_DIFFERENCE),
    (facts(C.AMOUNT, S.APPROVED, hub=ONCE, payer=None, hospital=Side(1, 0, 1)), R.PEOPLE),
    (facts(C.AMOUNT, S.APPROVED, hub=ONCE, payer=ONCE, hospital=Side(1, 0, 1), revisions=2), R.RESEND_ANSWER),
    # the payer has put its book right after a difference was posted
    (facts(C.AMOUNT, S.APPROVED, hub=Side(1, 0, 7_499), payer=ONCE, posted_fen=-1), R.POST_DIFFERENCE),
    (facts(C.AMOUNT, S.APPROVED, hub=Side(1), payer=ONCE, posted_fen=-7_500), R.POST_DIFFERENCE),
    (facts(C.MISSING_AT_INSURER, S.DECLINED, hub=ONCE, posted_fen=7_500), R.POST_DIFFERENCE),
    (facts(C.AMOUNT, S.APPROVED, hub=Side(1, 0, 7_498), payer=Side(1, 0, 7_499), posted_fen=-2), R.PEOPLE),
    (facts(C.AMOUNT, S.CANCELLING, hub=Side(1, 0, 7_499), payer=ONCE, posted_fen=-1), R.PEOPLE),
    # twice
    (facts(C.DUPLICATE, S.APPROVED, hub=ONCE, payer=Side(2, 0, 15_000)), R.PEOPLE),
]


@pytest.mark.parametrize(("known", "remedy"), ROWS, ids=lambda value: str(getattr(value, "break_class", value)))
def test_each_row_proposes_its_remedy_and_says_why(known, remedy):
    proposed = decide(known)

    assert proposed.remedy is remedy
    assert 20 < len(proposed.reason) < 140


@pytest.mark.parametrize("break_class", BreakClass)
@pytest.mark.parametrize("state", [*LegState, None])
@pytest.mark.parametrize("able", [EVERYTHING, UNABLE])
def test_whatever_is_found_something_is_proposed_that_can_be_done(break_class, state, able):
    for payer in (None, NOTHING, ONCE, PAIR, REFUND):
        for ours in (NOTHING, ONCE, PAIR, REFUND):
            said = decide(facts(break_class, state, hub=ours, payer=payer, able=able))
            if not able.reverse:
                assert said.remedy not in (R.REVERSE, R.INQUIRE)
            if said.remedy in (R.CONFIRM, R.REVERSE, R.INQUIRE, R.POST_DIFFERENCE):
                assert state is not None


def test_every_class_and_every_remedy_stands_in_the_page():
    page = PAGE.read_text()

    assert {one for one in BreakClass if f"`{one}`" not in page} == set()
    assert {one for one in Remedy if f"`{one}`" not in page} == set()


def test_what_is_asked_for_is_read_as_it_was_written():
    decided = [Decision(1, R.CONFIRM, "line 12"), Decision(2, R.PEOPLE)]

    assert decisions_of(detail_of(7, decided)) == decided


@pytest.mark.parametrize(
    "remedies",
    [
        [],
        [[1, "confirm"]],
        [[1, "none", ""]],
        [[1, "pay", ""]],
        [[1, "confirm", ""], [1, "people", ""]],
        [["x", "confirm", ""]],
        [[1.9, "confirm", ""]],
        [[2**63, "confirm", ""]],
        [["1", "confirm", ""]],
        [[1, "confirm", "n" * 501]],
        [[number, "people", ""] for number in range(BREAKS_MAX + 1)],
        None,
    ],
)
def test_what_cannot_be_meant_is_refused(remedies):
    with pytest.raises(InvalidMessage):
        decisions_of({"run": 1, "remedies": remedies})


def test_what_needs_people_is_left_to_them_unless_they_say_what():
    class Proposed:
        def __init__(self, break_id: int, proposal: str) -> None:
            self.break_id, self.proposal = break_id, proposal

    found = [Proposed(1, "confirm"), Proposed(2, "people"), Proposed(3, ""), Proposed(4, "none")]

    assert as_proposed(found) == ([Decision(1, R.CONFIRM)], 3)
    assert len(as_proposed(found, R.PEOPLE)[0]) == 4
