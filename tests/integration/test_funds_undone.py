"""Money that was nearly paid for nothing: claims, deductions and orders that were taken back at an awkward moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from schemas.transactions import Transaction
from store import fund_audits, fund_payments, funds, ledger
from tests.support.builders import CRITICAL, HOSPITAL
from tests.support.eventually import eventually
from tests.support.fund_days import Desk, claims_of, seal, totals
from tests.support.hub_in_process import TestHub, a_hub

ONE = {"count": 1, "total": "300.00", "payers_paid": "225.00", "cash": "75.00"}
UNDONE = {"count": -1, "total": "-300.00", "payers_paid": "-225.00", "cash": "-75.00"}


@pytest.fixture
def hub(database_url):
    with a_hub(database_url, running=False) as hub:
        yield hub


def settled_and_claimed(hub: TestHub) -> int:
    """A bill of 300.00, of which CRITICAL bears 75.00; its claim."""
    hub.settle("S-1")
    hub.pump()
    return claims_of(hub, totals(seal(hub), "FS-1", **ONE))[CRITICAL]


def cancelled_and_claimed(hub: TestHub) -> int:
    """The bill undone on the next day; the claim that says so."""
    hub.clock.advance(86_400)
    hub.cancel("S-1")
    hub.pump()
    return claims_of(hub, totals(seal(hub), "FS-9", **UNDONE))[CRITICAL]


def payable_fen(hub: TestHub, number: int) -> int:
    with hub.database.connect() as connection:
        claim = funds.read(connection, number)
    assert claim is not None
    return claim.payable_fen


def test_a_deduction_ends_with_the_claim_that_it_was_noted_in(hub):
    desk, first = Desk(hub), settled_and_claimed(hub)
    desk.do("deduct", f"claim/{first}", settlement_no="S-1", amount="30.00", code="A01")
    cancel = {"institution": HOSPITAL, "request_no": "FC-1", "settle_request_no": "FS-1", "reason": "更正"}
    assert hub.send(Transaction.FEES_SETTLE_CANCEL, cancel).error is None
    with hub.database.connect() as connection:
        assert fund_audits.of_claim(connection, first) == []
        (day,) = connection.execute(text("SELECT first_day FROM fund_claim WHERE claim_no = :no"), {"no": first}).one()
    second = claims_of(hub, totals(day, "FS-2", **ONE))[CRITICAL]
    desk.do("deduct", f"claim/{second}", settlement_no="S-1", amount="75.00", code="A01")
    with hub.database.connect() as connection:
        (noted,) = fund_audits.of_claim(connection, second)
    desk.do("take-back", f"claim/{second}", deduction=noted.deduction_id)
    desk.do("audit", f"claim/{second}", deducted="0.00")

    third = cancelled_and_claimed(hub)
    desk.do("audit", f"claim/{third}", deducted="0.00")

    assert (payable_fen(hub, second), payable_fen(hub, third)) == (7_500, -7_500)


def test_only_what_was_deducted_in_the_ledger_is_given_back(hub):
    desk, first = Desk(hub), settled_and_claimed(hub)
    desk.do("deduct", f"claim/{first}", settlement_no="S-1", amount="30.00", code="A01")
    second = cancelled_and_claimed(hub)

    desk.do("audit", f"claim/{second}", deducted="0.00")
    refused = desk.approve(desk.ask("audit", f"claim/{first}", deducted="30.00").id)
    with hub.database.connect() as connection:
        (noted,) = fund_audits.of_claim(connection, first)
    desk.do("take-back", f"claim/{first}", deduction=noted.deduction_id)
    desk.do("audit", f"claim/{first}", deducted="0.00")

    assert (refused.state, "undone meanwhile" in refused.outcome) == ("failed", True)
    assert (payable_fen(hub, first), payable_fen(hub, second)) == (7_500, -7_500)
    with hub.database.connect() as connection:
        (found,) = ledger.balances(connection, payer=CRITICAL)
    assert set(found.balances.values()) == {0}


def test_an_order_that_went_to_the_bank_meanwhile_is_not_taken_back(hub):
    desk, number = Desk(hub), settled_and_claimed(hub)
    desk.do("audit", f"claim/{number}", deducted="0.00")
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[number], amount="75.00")
    with hub.database.connect() as connection:
        payment_no = fund_payments.listed(connection)[0].payment_no
    asked = desk.ask("void", f"payment/{payment_no}")
    hub.clock.advance(60)
    desk.do("file", f"payments/{CRITICAL}")

    late = desk.approve(asked.id)

    assert (late.state, "file" in late.outcome) == ("failed", True)
    hub.clock.advance(60)
    assert desk.do("void", f"payment/{payment_no}").state == "executed", "the bank has refused the file"


def test_a_request_that_comes_twice_at_once_is_answered_twice_alike(hub):
    hub.settle("S-1")
    hub.pump()
    asked = totals(seal(hub), "FS-1", **ONE) | {"claim": {}}
    with ThreadPoolExecutor(2) as senders:
        with hub.database.begin() as connection:
            funds.lock(connection, HOSPITAL)
            taken = [senders.submit(hub.send, Transaction.FEES_SETTLE, asked) for _ in range(2)]
            eventually(lambda: waiting_for_locks(hub) == 2)
        answers = [one.result(20) for one in taken]

    assert [one.error for one in answers] == [None, None]
    assert (answers[0].answer, sorted(one.repeated for one in answers)) == (answers[1].answer, [False, True])


def waiting_for_locks(hub: TestHub) -> int:
    with hub.database.connect() as connection:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(connection.execute(held).scalar_one())
