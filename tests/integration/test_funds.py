"""From what an institution advanced to money in its bank: applied for, audited, ordered, confirmed, off the ledger."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest

from hub.funds import files
from routing.postings import Account
from schemas.errors import Conflict, Forbidden, NotFound
from schemas.transactions import Transaction
from store import fund_audits, fund_figures, fund_payments, funds, ledger
from tests.support.builders import BASIC, CRITICAL, HOSPITAL
from tests.support.fund_days import Desk, claims_of, seal, totals
from tests.support.hub_in_process import TestHub, a_hub

BOTH = {"count": 2, "total": "600.00", "payers_paid": "450.00", "cash": "150.00"}


@pytest.fixture
def hub(database_url):
    with a_hub(database_url, running=False) as hub:
        yield hub


def settled(hub: TestHub, *numbers: str) -> None:
    """Bills of 300.00 each: 150.00 by the basic system, 75.00 by the critical-illness insurer."""
    for number in numbers:
        hub.settle(number)
    hub.pump()


def balance(hub: TestHub, payer: str = CRITICAL) -> dict[str, int]:
    """What stands on a payer's accounts, those with nothing left out."""
    with hub.database.connect() as connection:
        (found,) = ledger.balances(connection, institution=HOSPITAL, payer=payer)
    return {account.value: fen for account, fen in found.balances.items() if fen and account is not Account.PATIENT}


def confirmation(payment_no: str, amount: str, day: date, request_no: str = "PC-1") -> dict[str, Any]:
    period = {"first": str(day), "last": str(day)}
    which = {"institution": HOSPITAL, "request_no": request_no, "payment_no": payment_no, "payer": CRITICAL}
    return which | {"amount": amount, "paid_on": str(day), "period": period}


def claim(hub: TestHub, number: int) -> funds.Claim:
    with hub.database.connect() as connection:
        found = funds.read(connection, number)
    assert found is not None
    return found


def ordered(hub: TestHub) -> fund_payments.Payment:
    with hub.database.connect() as connection:
        return fund_payments.listed(connection)[0]


def test_a_month_is_applied_for_audited_paid_and_confirmed(hub):
    settled(hub, "S-1", "S-2")
    day, desk = seal(hub), Desk(hub)
    number = claims_of(hub, totals(day, "FS-1", **BOTH))[CRITICAL]
    which = f"claim/{number}"

    desk.do("sample", which, seed="s-1", count=1)
    desk.do("deduct", which, settlement_no="S-1", amount="5.00", code="A01", reason="no indication")
    desk.do("audit", which, deducted="5.00", withheld_basis_points=500)
    assert balance(hub) == {"receivable": 14_500, "deducted": 500}
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[number], amount="137.75")
    assert balance(hub) == {"receivable": 725, "in_transit": 13_775, "deducted": 500}
    payment = ordered(hub)
    taken = hub.send(Transaction.PAYMENT_CONFIRM, confirmation(payment.payment_no, "137.75", day))

    assert orjson.loads(taken.answer)["ordered"] is True
    assert balance(hub) == {"receivable": 725, "bank": 13_775, "deducted": 500}
    assert (claim(hub, number).state, claim(hub, number).withheld_fen, ordered(hub).state) == ("paid", 725, "confirmed")
    with hub.database.connect() as connection:
        (trio,) = fund_figures.standing(connection, ["institution"], payer=CRITICAL, first=day, last=day)
    assert (trio.advanced_fen, trio.settled_fen, trio.deducted_fen, trio.to_be_settled_fen) == (
        15_000,
        13_775,
        500,
        725,
    )
