"""A message about a visit, a payment and a notice that die at any named boundary: done once, whatever is repeated."""

from __future__ import annotations

import pytest

from hub import failpoints
from hub.notices import Notices
from schemas import transactions
from tests.support.builders import CRITICAL, HOSPITAL, a_party
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub
from tests.support.told_payer import ToldPayer
from tests.support.visit_builders import a_book_with_visits, an_admission

T = transactions.Transaction
STEPS = ("before_commit", "after_commit", "after_publish")
PARTIES = [a_party(CRITICAL, notices=["admission.register"])]


@pytest.fixture
def world(database_url):
    payers = {CRITICAL: ToldPayer()}
    with a_hub(database_url, payers=payers, parties=PARTIES, running=False, **a_book_with_visits()) as hub:
        yield hub
        failpoints.arm("")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("point", "transaction", "message", "table"),
    [
        ("visit", T.ADMISSION_REGISTER, an_admission(), "visit"),
        (
            "clearing",
            T.PAYMENT_CONFIRM,
            {
                "institution": HOSPITAL,
                "request_no": "P-1",
                "payment_no": "PAY-1",
                "payer": CRITICAL,
                "amount": "12.00",
                "paid_on": "2026-03-05",
                "period": {"first": "2026-03-01", "last": "2026-03-05"},
            },
            "payment_confirmation",
        ),
    ],
)
def test_a_message_that_dies_on_its_way_is_done_once_when_it_comes_again(
    world, point, transaction, message, table, step
):
    failpoints.arm(f"{point}.{step}=raise")
    try:
        dead = world.send(transaction, message)
    except failpoints.FailpointReached:
        dead = None
    failpoints.arm("")
    # After the commit nothing is left to publish for a message that tells nobody by queue.
    assert dead is None or step == "after_publish"
    assert world.count(table) == (0 if step == "before_commit" else 1)

    again = world.send(transaction, message)

    assert again.error is None
    assert again.repeated == (step != "before_commit")
    assert world.count(table) == world.count("party_request") == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_notice_that_dies_on_its_way_is_taken_once(world, step):
    assert world.send(T.ADMISSION_REGISTER, an_admission()).error is None
    insurer = world.payers[CRITICAL]
    notices = Notices(world.hub.work_units, world.clock, world.hub.payers)
    failpoints.arm(f"notice.{step}=raise")
    try:
        notices()
    except failpoints.FailpointReached:
        assert insurer.notes == []
    failpoints.arm("")

    world.clock.advance(60)
    notices()

    eventually(lambda: insurer.told == ["admission.register"])
    notices.stop()
    assert len({one["request_id"] for one in insurer.heard}) == 1
