"""The timeline of a case: what happened, in order, without bodies."""

from __future__ import annotations

from datetime import timedelta

from hub.timeline import Happening, timeline
from routing.states import CaseState
from store.answers import StoredAnswer
from store.exchanges import Exchange
from tests.support.builders import BASIC, HOSPITAL, MOMENT, REGION, a_case


def at(milliseconds: int):
    return MOMENT + timedelta(milliseconds=milliseconds)


def said(leg_no: int, direction: str, milliseconds: int, **changes) -> Exchange:
    values = {
        "region": REGION,
        "case_id": "C",
        "leg_no": leg_no,
        "party": BASIC if leg_no else HOSPITAL,
        "direction": direction,
        "operation": "settle",
        "request_id": f"R-{leg_no}",
        "attempt": 1,
        "body": b'{"name":"SECRET"}',
        "at": at(milliseconds),
    }
    return Exchange(**values | changes)


def given(revision: int, status: str, milliseconds: int) -> StoredAnswer:
    return StoredAnswer("C", revision, REGION, True, f'{{"status":"{status}"}}'.encode(), at(milliseconds))


MESSAGES = [
    said(1, "in", 30, outcome="approved", status=200),
    said(0, "in", 0),
    said(1, "out", 10),
]


def test_a_settled_case_is_told_from_the_request_to_the_answer():
    case = a_case(state=CaseState.SETTLED, ended_at=at(30))

    events = timeline(case, MESSAGES, [given(1, "settled", 30)])

    assert [event.kind for event in events] == [
        Happening.RECEIVED,
        Happening.ASKED,
        Happening.PAYER_ANSWERED,
        Happening.ENDED,
        Happening.ANSWER_GIVEN,
    ]
    assert [(event.outcome, event.took_ms) for event in events[2:]] == [
        ("approved", 20),
        ("settled", None),
        ("settled", 30),
    ]


def test_a_lost_answer_and_its_repeat_are_told_apart():
    lost = said(1, "in", 20, outcome="answer_lost")
    again = [said(1, "out", 1000, attempt=2), said(1, "in", 1005, attempt=2, outcome="approved")]

    events = timeline(a_case(), [*MESSAGES[1:], lost, *again], [])

    assert [(event.kind, event.attempt, event.took_ms) for event in events[1:]] == [
        (Happening.ASKED, 1, None),
        (Happening.NO_ANSWER, 1, 10),
        (Happening.ASKED, 2, None),
        (Happening.PAYER_ANSWERED, 2, 5),
    ]


def test_an_undo_counts_its_time_from_its_own_request():
    undo = [said(0, "in", 5000, operation="cancel"), said(1, "out", 5010, operation="cancel", request_id="R-1-c")]

    events = timeline(a_case(), [*MESSAGES, *undo], [given(1, "settled", 30), given(2, "cancelled", 5040)])

    assert [(event.outcome, event.revision, event.took_ms) for event in events if event.revision] == [
        ("settled", 1, 30),
        ("cancelled", 2, 40),
    ]
    assert events[4].operation == "cancel"


def test_an_answer_to_a_question_nobody_stored_has_no_duration():
    (event,) = timeline(a_case(), [said(1, "in", 30, outcome="declined")], [])

    assert event.took_ms is None


def test_nothing_of_a_body_is_told():
    events = timeline(a_case(state=CaseState.SETTLED, ended_at=at(30)), MESSAGES, [given(1, "settled", 30)])

    assert "SECRET" not in str([event.as_dict() for event in events])


def test_an_event_is_json_with_its_facts_only():
    (event,) = timeline(a_case(), [said(1, "in", 30, outcome="approved", status=200)], [])

    assert event.as_dict() == {
        "at": "2026-03-02T01:15:00.030000+00:00",
        "kind": "payer_answered",
        "party": BASIC,
        "leg_no": 1,
        "operation": "settle",
        "attempt": 1,
        "outcome": "approved",
        "http_status": 200,
        "text": {"zh": "支付方答复：同意", "en": "payer: approved"},
    }
