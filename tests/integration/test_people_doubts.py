"""What people do about a leg in doubt: the payer's true word with a second person's consent, or an undo."""

from __future__ import annotations

import pytest

from hub.people.doubts import subject_of
from routing.states import CaseState, LegState
from schemas.codes import Outcome
from schemas.errors import Conflict, Forbidden, InvalidMessage
from schemas.payer import Operation
from tests.support.builders import BASIC, CRITICAL, StubPayer, lost_after_effect, lost_before_effect, pays_too_much
from tests.support.dead_letters import an_office
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub


def refuses(payer, task):
    return payer.enter(task, Outcome.DECLINED, 0)


def in_doubt(hub, behaviour=lost_after_effect):
    """A case whose critical-illness leg is in doubt and whose payer can neither be asked nor repeated."""
    hub.payers[CRITICAL].script.append(behaviour)
    case_id = hub.settle().case_id
    hub.pump()
    hub.clock.advance(20)
    hub.sweep()
    hub.pump()
    leg = hub.case(case_id).leg(2)
    assert (leg.state, leg.next_at) == (LegState.IN_DOUBT, None)
    return case_id


def payers(**can):
    return {BASIC: StubPayer(), CRITICAL: StubPayer(idempotent=False, **can)}


def decide(office, kind, case_id, leg_no=2, **detail):
    action = office.actions.request(kind, subject_of(case_id, leg_no), detail, "their list of today, line 12", "li")
    return office.actions.approve(action.id, "wang")


def test_the_payers_word_given_by_two_people_counts_like_its_own(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office, case_id = an_office(hub), in_doubt(hub)
        stands_fen = hub.payers[CRITICAL].net_fen

        done = decide(office, "doubt.approve", case_id, amount="75.00", reference="K-1")

        assert (done.state, stands_fen) == ("executed", 7_500)
        case = hub.case(case_id)
        assert (case.state, case.leg(2).state, case.leg(2).amount_fen) == (CaseState.SETTLED, LegState.APPROVED, 7_500)
        last = hub.answers(case_id)[-1]
        assert (last["status"], last["shares"][1]["amount"], last["cash"]) == ("settled", "75.00", "75.00")
        assert len(hub.payers[CRITICAL].calls) == 1


def test_nobody_gives_the_payers_word_alone(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office, case_id = an_office(hub), in_doubt(hub)
        action = office.actions.request("doubt.decline", subject_of(case_id, 2), {}, "by telephone", "li")

        with pytest.raises(Forbidden):
            office.actions.approve(action.id, "li")

        assert hub.case(case_id).leg(2).state is LegState.IN_DOUBT


def test_a_decline_ends_the_case(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office, case_id = an_office(hub), in_doubt(hub, lost_before_effect)

        decide(office, "doubt.decline", case_id)

        assert hub.case(case_id).state is CaseState.SETTLED
        assert hub.answers(case_id)[-1]["cash"] == "150.00"


@pytest.mark.parametrize(
    ("detail", "field"),
    [
        ({"amount": "150.01", "reference": "K-1"}, "amount"),
        ({"amount": "1.001", "reference": "K-1"}, "amount"),
        ({"reference": "K-1"}, "amount"),
        ({"amount": "75.00"}, "reference"),
        ({"amount": "75.00", "reference": " "}, "reference"),
        ({"amount": "75.00", "reference": "K-1, line 12"}, "reference"),
    ],
)
def test_a_word_that_cannot_be_true_is_refused_when_it_is_entered(database_url, detail, field):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office, case_id = an_office(hub), in_doubt(hub)

        with pytest.raises(InvalidMessage) as refusal:
            office.actions.request("doubt.approve", subject_of(case_id, 2), detail, "their list", "li")

        assert [violation.field for violation in refusal.value.violations] == [field]
        assert office.actions.pending() == []


def test_a_payer_that_answers_before_the_second_person_has_the_last_word(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office, case_id = an_office(hub), in_doubt(hub)
        waiting = office.actions.request("doubt.decline", subject_of(case_id, 2), {}, "by telephone", "li")
        decide(office, "doubt.approve", case_id, amount="75.00", reference="K-1")

        late = office.actions.approve(waiting.id, "wang")

        assert late.state == "failed"
        assert hub.case(case_id).leg(2).state is LegState.APPROVED


def test_people_may_have_a_held_leg_undone(database_url):
    with a_hub(database_url, payers=payers(reversal=True), running=False) as hub:
        hub.payers[CRITICAL].script.append(pays_too_much)
        case_id = hub.settle().case_id
        hub.pump()
        assert hub.case(case_id).leg(2).state is LegState.HELD

        decide(an_office(hub), "doubt.reverse", case_id)
        hub.pump()

        case = hub.case(case_id)
        assert (case.state, case.leg(2).state) == (CaseState.SETTLED, LegState.REVERSED)
        assert hub.payers[CRITICAL].net_fen == 0
        assert hub.answers(case_id)[-1]["cash"] == "150.00"


def test_a_refused_undo_is_asked_for_again_or_confirmed_by_people(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        office = an_office(hub)
        for number, kind in (("S-1", "doubt.ask"), ("S-2", "doubt.undone")):
            case_id = hub.settle(number).case_id
            hub.pump()
            hub.payers[CRITICAL].script.append(refuses)
            hub.cancel(number, f"C-{number}")
            hub.pump()
            assert hub.case(case_id).leg(2).state is LegState.CANCEL_HELD
            cancel_id = hub.case(case_id).leg(2).cancel_id
            del hub.payers[CRITICAL].book[cancel_id]

            action = office.actions.request(kind, subject_of(case_id, 2), {}, "their letter", "li")
            if action.state == "requested":
                office.actions.approve(action.id, "wang")
            hub.pump()

            case = hub.case(case_id)
            assert (case.state, case.leg(2).state) == (CaseState.CANCELLED, LegState.CANCELLED)
            asked = [id_ for operation, id_ in hub.payers[CRITICAL].calls if operation == Operation.CANCEL]
            assert set(asked[-1:]) == {cancel_id}


def test_what_is_decided_is_no_doubt(database_url):
    with a_hub(database_url, payers=payers(), running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        office = an_office(hub)

        for kind in ("doubt.ask", "doubt.approve", "doubt.decline", "doubt.reverse", "doubt.undone"):
            with pytest.raises(Conflict):
                office.actions.request(kind, subject_of(case_id, 2), {"amount": "1.00", "reference": "K"}, "r", "li")


def test_a_stopped_payer_hears_nothing_until_it_is_resumed(database_url):
    with a_hub(database_url, payers=payers()) as hub:
        office = an_office(hub)
        office.actions.request("payer.stop", f"payer/{CRITICAL}", {}, "they asked us to", "li")
        stopped = hub.hub.payers[CRITICAL].gate
        eventually(lambda: stopped.first() is not None)

        answer = hub.answered(hub.settle().case_id)

        assert (answer["shares"][1]["state"], answer["shares"][1]["reason_code"]) == ("deferred", "payer_stopped")
        assert hub.payers[CRITICAL].calls == []
        office.actions.request("payer.resume", f"payer/{CRITICAL}", {}, "they are back", "li")
        eventually(lambda: stopped.first() is None)
        assert hub.answered(hub.settle("S-2").case_id)["shares"][1]["state"] == "approved"


def test_all_payers_are_stopped_by_one_switch(database_url):
    with a_hub(database_url, payers=payers()) as hub:
        office = an_office(hub)
        office.actions.request("payer.stop", "payer/*", {}, "something is wrong with the amounts", "li")
        eventually(lambda: hub.hub.payers[BASIC].gate.first() is not None)

        answer = hub.answered(hub.settle().case_id)

        assert (answer["status"], answer["cash"]) == ("declined", "300.00")
        assert hub.payers[BASIC].calls == hub.payers[CRITICAL].calls == []
