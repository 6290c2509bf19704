"""An insurer that consumes its own queue: tasks go out as messages, its answers come in through the desk."""

from __future__ import annotations

import pytest

from schemas.errors import InvalidMessage, Malformed, NotFound
from schemas.transactions import Transaction
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL_RULE,
    HOSPITAL,
    QUEUE_INSURER,
    QUEUE_RULE,
)
from tests.support.hub_in_process import a_hub
from tests.support.queue_insurer import an_answer, answer, tasks

RULES = (BASIC_RULE, QUEUE_RULE)


def test_its_answer_settles_the_case_and_its_repeat_changes_nothing(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)

        first = answer(hub, an_answer(task))
        repeats = [answer(hub, an_answer(task)), answer(hub, an_answer(task, amount="60.00"))]

        assert (task["left"], task["operation"]) == ("150.00", "settle")
        assert [taken.error for taken in (first, *repeats)] == [None, None, None]
        assert [one["shares"][1]["amount"] for one in hub.answers(case_id)] == ["50.00"]
        assert hub.answers(case_id)[0]["cash"] == "100.00"


def test_both_answers_in_one_batch_count_once(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        batch = [
            hub.inbound(Transaction.CLAIM_ANSWER, an_answer(task, amount=amount), party=QUEUE_INSURER)
            for amount in ("50.00", "60.00")
        ]

        taken = hub.hub.desk.take(batch)

        assert [one.error for one in taken] == [None, None]
        assert [one["cash"] for one in hub.answers(case_id)] == ["100.00"]


@pytest.mark.parametrize("command_again", [1, 3])
def test_its_task_is_sent_once_however_often_the_command_comes(database_url, command_again):
    with a_hub(database_url, *RULES, running=False) as hub:
        hub.settle()
        hub.handle(BASIC, hub.commands()[0][1])
        command = hub.commands()[0][1]
        for _ in range(1 + command_again):
            hub.handle(QUEUE_INSURER, command)

        assert len(tasks(hub)) == 1


@pytest.mark.parametrize(
    "request_id",
    [
        "x",
        "0x00000000000000000000000000001f-2",
        "0190_0000_0000_7000_8000_0000_01-2",
        "0" * 32 + "-0",
        "0" * 32 + "-2-d",
        "0" * 32 + "-" + "9" * 20,
        "0" * 32 + "--c",
    ],
)
def test_a_request_id_that_is_not_ours_is_refused_and_spares_its_batch(database_url, request_id):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        (task,) = tasks(hub)
        batch = [
            hub.inbound(Transaction.CLAIM_ANSWER, message, party=QUEUE_INSURER)
            for message in (an_answer({"request_id": request_id}), an_answer(task))
        ]

        wrong, right = hub.hub.desk.take(batch)

        assert isinstance(wrong.error, InvalidMessage)
        assert wrong.error.violations[0].field == "request_id"
        assert (right.error, right.case_id) == (None, case_id)


@pytest.mark.parametrize("request_id", ["0" * 32 + "-2", "{case}-1", "{case}-9", "{case}-1-c"])
def test_another_partys_request_and_an_unknown_one_are_not_found(database_url, request_id):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        taken = answer(hub, an_answer({"request_id": request_id.format(case=case_id.replace("-", ""))}))

        assert isinstance(taken.error, NotFound)
        assert hub.answers(case_id) == []


@pytest.mark.parametrize("party", [HOSPITAL, BASIC])
def test_nobody_else_answers_for_it(database_url, party):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        taken = answer(hub, an_answer(tasks(hub)[0]), party=party)

        assert isinstance(taken.error, NotFound)
        assert hub.answers(case_id) == []


def test_unreadable_answers_are_refused(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        hub.settle()
        hub.pump()
        (task,) = tasks(hub)

        assert isinstance(answer(hub, b"{").error, Malformed)
        assert isinstance(answer(hub, an_answer(task, amount="-1")).error, InvalidMessage)


def test_more_than_was_left_is_held(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        answer(hub, an_answer(tasks(hub)[0], amount="150.01"))

        assert [share["state"] for share in hub.answers(case_id)[0]["shares"]] == ["approved", "held"]
        assert hub.answers(case_id)[0]["cash"] == "150.00"


def test_an_answer_after_the_deadline_is_the_final_word(database_url):
    """After the deadline its task is in doubt; where nothing can be inquired it is said again under its own id."""
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.clock.advance(20)
        hub.sweep()
        hub.pump()
        answer(hub, an_answer(tasks(hub)[0]))

        assert [(one["final"], one["cash"]) for one in hub.answers(case_id)] == [(False, "150.00"), (True, "100.00")]
        assert [task["operation"] for task in tasks(hub)] == ["settle", "settle"]
        assert len({task["request_id"] for task in tasks(hub)}) == 1


def test_its_cancel_is_a_task_too(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        answer(hub, an_answer(tasks(hub)[0]))
        hub.cancel()
        hub.pump()
        undo = tasks(hub)[1]

        wrong = answer(hub, an_answer(undo, "cancelled", "49.99"))
        right = answer(hub, an_answer(undo, "cancelled", "50.00"))
        hub.pump()

        assert (undo["operation"], undo["amount"]) == ("cancel", "50.00")
        assert (wrong.error, right.error) == (None, None)
        states = [leg.state.value for leg in hub.case(case_id).legs]
        # What does not mirror the original is with people, who alone can end it now.
        assert states == ["approved", "cancel_held"]
        assert hub.answers(case_id)[-1]["status"] == "cancelling"


def test_its_confirmed_cancel_lets_the_basic_share_go_back(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        answer(hub, an_answer(tasks(hub)[0]))
        hub.cancel()
        hub.pump()
        undo = tasks(hub)[1]
        for _ in range(2):
            answer(hub, an_answer(undo, "cancelled", "50.00"))
        hub.pump()

        assert [one["status"] for one in hub.answers(case_id)] == ["settled", "cancelled"]
        assert hub.payers[BASIC].net_fen == 0


def test_a_late_approval_of_a_cancelled_case_is_undone(database_url):
    with a_hub(database_url, *RULES, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        hub.cancel()
        answer(hub, an_answer(tasks(hub)[0]))
        hub.pump()
        answer(hub, an_answer(tasks(hub)[1], "cancelled"))
        hub.pump()

        assert [one["status"] for one in hub.answers(case_id)] == ["cancelled"]
        assert hub.payers[BASIC].net_fen == 0


def test_behind_it_the_next_layer_goes_on(database_url):
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE, QUEUE_RULE, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()
        answer(hub, an_answer(tasks(hub)[0], "declined", "0.00", reason_code="X", reason_zh="不在保障范围"))

        share = hub.answers(case_id)[0]["shares"][2]
        assert (share["state"], share["reason_code"], share["reason"]["zh"]) == ("declined", "X", "不在保障范围")
