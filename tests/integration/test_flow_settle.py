"""From the hospital's message to the combined answer, on a real database with the embedded transport."""

from __future__ import annotations

import json
import threading

import pytest

from routing.states import CaseState
from schemas.errors import Conflict, Forbidden, InvalidMessage, Malformed, NotFound
from schemas.transactions import Transaction
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    COINSURED_RULE,
    COINSURERS,
    COMMERCIAL,
    COMMERCIAL_RULE,
    CRITICAL,
    CRITICAL_RULE,
    OTHER_HOSPITAL,
    StubPayer,
    a_settle_request,
    as_bytes,
    declines,
    defers,
    pays_too_much,
    unreachable,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub

ALL_LAYERS = (BASIC_RULE, CRITICAL_RULE, COINSURED_RULE, COMMERCIAL_RULE)


def adds_up(answer: dict) -> bool:
    parts = [share["amount"] for share in answer["shares"]]
    fen = sum(
        round(float(part) * 100) for part in [*parts, answer["account"], answer["hospital_borne"], answer["cash"]]
    )
    return fen == round(float(answer["total"]) * 100)


def test_every_layer_works_on_what_the_one_before_left(database_url):
    payers = {BASIC: StubPayer(percent=60, account_fen=1_000, hospital_fen=501), COMMERCIAL: StubPayer(percent=100)}
    with a_hub(database_url, *ALL_LAYERS, payers=payers) as hub:
        hub.cover()

        answer = hub.answered(hub.settle(total_fen=30_000).case_id)

    # Basic 180.00, account 10.00, hospital 5.01; of 104.99 half is 52.50; 52.49 is split 31.50 + 20.99, half of each.
    assert [share["amount"] for share in answer["shares"]] == ["180.00", "52.50", "15.75", "10.50", "26.24"]
    assert (answer["account"], answer["hospital_borne"], answer["cash"]) == ("10.00", "5.01", "0.00")
    assert (answer["status"], answer["final"], answer["revision"]) == ("settled", True, 1)
    assert adds_up(answer)


def test_a_repeat_gets_the_same_bytes_and_asks_nobody(database_url):
    with a_hub(database_url) as hub:
        first = hub.settle()
        hub.answered(first.case_id)

        repeats = [hub.settle(), hub.settle(answer_by="2030-01-01T00:00:00Z")]

        with hub.database.connect() as connection:
            stored = bytes(connection.exec_driver_sql("SELECT body FROM case_answer").scalar_one())
        assert [one.answer for one in repeats] == [stored, stored]
        assert all(one.repeated and one.case_id == first.case_id for one in repeats)
        assert [len(payer.calls) for payer in hub.payers.values()] == [1, 1]


def test_the_same_number_with_other_content_is_a_conflict(database_url):
    with a_hub(database_url) as hub:
        first = hub.settle(total_fen=30_000)

        second = hub.settle(total_fen=30_001)

        assert isinstance(second.error, Conflict)
        hub.answered(first.case_id)
        assert hub.count("settlement_case") == 1


def test_a_message_id_that_was_used_for_another_message_is_refused(database_url):
    with a_hub(database_url) as hub:
        first = hub.settle("S-1")
        hub.answered(first.case_id)

        other = hub.send(Transaction.SETTLE, a_settle_request(settlement_no="S-2"), message_id="M-1")
        undo = hub.cancel("S-1", message_id="M-1")

        assert [one.error.code for one in (other, undo)] == ["message.id_reused"] * 2
        assert hub.count("settlement_case") == 1
        assert hub.case(first.case_id).state is CaseState.SETTLED


def test_one_settlement_number_many_times_in_one_batch_is_one_case(database_url):
    with a_hub(database_url) as hub:
        one, other = a_settle_request(settlement_no="S-1"), a_settle_request(20_000, settlement_no="S-1")
        batch = [hub.inbound(Transaction.SETTLE, message) for message in (one, one, other, one)]

        taken = hub.hub.desk.take(batch)

        assert [type(result.error) for result in taken] == [type(None), type(None), Conflict, type(None)]
        assert len({result.case_id for result in taken}) == 1
        hub.answered(taken[0].case_id)
        assert len(hub.payers[BASIC].calls) == 1


def test_two_takers_of_the_same_numbers_in_opposite_orders_make_each_case_once(database_url):
    with a_hub(database_url, running=False) as hub:
        messages = [a_settle_request(settlement_no=f"S-{number}") for number in range(60)]
        batches = [
            [hub.inbound(Transaction.SETTLE, message) for message in order] for order in (messages, messages[::-1])
        ]
        taken: list = []
        together = threading.Barrier(2)

        def take(batch):
            together.wait()
            taken.append(hub.hub.desk.take(batch))

        threads = [threading.Thread(target=take, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(taken) == 2
        assert all(result.error is None for results in taken for result in results)
        assert hub.count("settlement_case") == 60
        assert len(hub.commands()) == 60


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b"{", Malformed),
        (as_bytes(a_settle_request(total="299.99", settlement_no="S-2")), InvalidMessage),
        (as_bytes(a_settle_request(institution=OTHER_HOSPITAL, settlement_no="S-2")), Forbidden),
        (
            as_bytes(
                a_settle_request(settlement_no="S-2", insurance={"type": "310", "person_no": "P", "region": "110000"})
            ),
            InvalidMessage,
        ),
        (
            as_bytes(
                a_settle_request(
                    settlement_no="S-2",
                    visit=a_settle_request()["visit"] | {"started_at": "2999-01-01T00:00:00+08:00"},
                )
            ),
            InvalidMessage,
        ),
    ],
    ids=["no JSON", "sum", "foreign institution", "no basic payer", "future"],
)
def test_a_wrong_message_spares_its_batch(database_url, wrong, error):
    with a_hub(database_url) as hub:
        good = [as_bytes(a_settle_request(settlement_no=f"S-{number}")) for number in (1, 3)]
        batch = [hub.inbound(Transaction.SETTLE, body) for body in (good[0], wrong, good[1])]

        taken = hub.hub.desk.take(batch)

        assert isinstance(taken[1].error, error)
        assert [hub.answered(taken[index].case_id)["status"] for index in (0, 2)] == ["settled", "settled"]
        assert hub.count("settlement_case") == 2


def test_a_declined_basic_share_ends_the_case_with_nothing_booked(database_url):
    payers = {BASIC: StubPayer(script=[declines])}
    with a_hub(database_url, *ALL_LAYERS, payers=payers) as hub:
        answer = hub.answered(hub.settle().case_id)

        assert (answer["status"], answer["final"], answer["cash"]) == ("declined", True, "300.00")
        assert answer["deferred"] == "0.00"
        assert "business_day" not in answer
        assert all(hub.payers[code].calls == [] for code in (CRITICAL, *COINSURERS))


def test_a_basic_system_that_defers_ends_the_case_with_nothing_open(database_url):
    with a_hub(database_url, payers={BASIC: StubPayer(script=[defers])}) as hub:
        answer = hub.answered(hub.settle().case_id)

    assert (answer["status"], answer["final"], answer["cash"], answer["deferred"]) == (
        "declined",
        True,
        "300.00",
        "0.00",
    )


def test_an_unreachable_payer_is_tried_again_and_its_part_names_no_old_trouble(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[unreachable])}) as hub:
        answer = hub.answered(hub.settle().case_id)

        assert [call[0] for call in hub.payers[CRITICAL].calls] == ["settle", "settle"]
    share = answer["shares"][1]
    assert (share["state"], share["amount"], share["reason_code"]) == ("approved", "75.00", "")


def test_a_payer_that_stays_unreachable_is_deferred_before_the_deadline(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[unreachable] * 20)}, running=False) as hub:
        case_id = hub.settle().case_id
        hub.pump()

        answer = hub.answers(case_id)[0]

        assert [share["state"] for share in answer["shares"]] == ["approved", "deferred"]
        assert answer["shares"][1]["reason_code"] == "not_reachable"
        assert (answer["status"], answer["final"]) == ("partly_settled", True)
        assert (answer["cash"], answer["deferred"]) == ("150.00", "150.00")
        assert hub.payers[CRITICAL].book == {}


def test_more_than_was_left_is_held_and_the_hospital_hears_at_once(database_url):
    with a_hub(database_url, payers={CRITICAL: StubPayer(script=[pays_too_much])}) as hub:
        answer = hub.answered(hub.settle().case_id)

    assert (answer["status"], answer["final"]) == ("partly_settled", False)
    assert (answer["shares"][1]["state"], answer["shares"][1]["amount"]) == ("held", "0.00")
    assert answer["shares"][1]["reason_code"] == "answer_held"
    assert (answer["cash"], answer["deferred"]) == ("150.00", "150.00")


def test_behind_a_held_coinsurer_nobody_is_asked_about_what_it_may_bear(database_url):
    payers = {COINSURERS[0]: StubPayer(script=[pays_too_much])}
    with a_hub(database_url, BASIC_RULE, COINSURED_RULE, COMMERCIAL_RULE, payers=payers) as hub:
        hub.cover()

        answer = hub.answered(hub.settle().case_id)

        assert [share["state"] for share in answer["shares"]] == ["approved", "held", "approved", "deferred"]
        assert hub.payers[COMMERCIAL].calls == []


def test_a_trial_is_adjudicated_without_effect_and_without_a_day(database_url):
    with a_hub(database_url) as hub:
        taken = hub.send(Transaction.TRIAL, a_settle_request())

        answer = hub.answered(taken.case_id)

        assert (answer["status"], answer["cash"]) == ("trial", "75.00")
        assert "business_day" not in answer
        assert all(payer.net_fen == 0 and payer.settled == [] for payer in hub.payers.values())
        assert isinstance(hub.query().error, NotFound)
        assert hub.answered(hub.settle().case_id)["status"] == "settled"


@pytest.mark.parametrize("settlement_no", ["trial:M-1", "trial:M-1:"])
def test_no_settlement_number_reaches_a_trial(database_url, settlement_no):
    with a_hub(database_url) as hub:
        trial = hub.send(Transaction.TRIAL, a_settle_request())
        hub.answered(trial.case_id)

        assert isinstance(hub.cancel(settlement_no).error, NotFound)
        assert isinstance(hub.query(settlement_no).error, NotFound)
        assert hub.settle(settlement_no).error is None


def test_a_settlement_has_the_business_day_of_the_basic_system(database_url):
    with a_hub(database_url) as hub:
        answer = hub.answered(hub.settle().case_id)

    assert len(answer["business_day"]) == len("2026-03-02")


def test_messages_of_one_batch_are_taken_in_their_order(database_url):
    with a_hub(database_url) as hub:
        settle = hub.inbound(Transaction.SETTLE, a_settle_request())
        cancel = hub.inbound(
            Transaction.CANCEL,
            {"institution": settle.party, "settlement_no": "S-1", "cancel_no": "C-1", "reason": "r"},
        )

        taken = hub.hub.desk.take([settle, cancel])

        assert [result.error for result in taken] == [None, None]
        assert hub.answered(taken[0].case_id)["status"] == "cancelled"
        eventually(lambda: all(payer.net_fen == 0 for payer in hub.payers.values()))


def test_a_query_shows_the_stored_answer_or_how_the_case_stands(database_url):
    with a_hub(database_url, running=False) as hub:
        hub.settle()
        before = json.loads(hub.query().answer)
        hub.pump()
        after = json.loads(hub.query().answer)

    assert (before["status"], before["final"], before["cash"]) == ("processing", False, "300.00")
    assert (after["status"], after["final"], after["cash"]) == ("settled", True, "75.00")
