"""From what an institution advanced to money in its bank: applied for, audited, ordered, confirmed, off the ledger."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import orjson
import pytest

from hub.funds import audits, claims, files, payments
from hub.funds.claims import Application
from routing.postings import Account, Kind
from schemas.errors import Conflict, Forbidden, NotFound
from schemas.transactions import Transaction
from store import fund_audits, fund_figures, fund_payments, funds, ledger
from store.fund_figures import Scope
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, REGION, a_party, a_rule_book
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


def test_nothing_is_claimed_before_the_days_are_sealed_nor_with_other_totals(hub):
    settled(hub, "S-1", "S-2")
    today = date.fromisoformat(totals(seal(hub, date(2026, 1, 1)), "x")["period"]["first"])
    day = hub.case(hub.settle("S-1").case_id).business_day or today

    early = hub.send(Transaction.FEES_SETTLE, totals(day, "FS-1", claim={}, **BOTH))
    seal(hub, day)
    days = [{"day": str(day), "count": 3, "payers_paid": "675.00"}]
    wrong = hub.send(
        Transaction.FEES_SETTLE, totals(day, "FS-2", claim={"days": days}, **BOTH | {"payers_paid": "449.99"})
    )
    asked_too_much = hub.send(Transaction.FEES_SETTLE, totals(day, "FS-3", claim={"applied": "450.01"}, **BOTH))

    assert isinstance(early.error, Conflict)
    assert (early.error.code, early.error.context["last"]) == ("claim.unsealed", day)
    answer = orjson.loads(wrong.answer)
    assert (answer["balanced"], answer["claims"], answer["difference"]) == (False, [], "-0.01")
    figures = {"count": 2, "payers_paid": "450.00", "their_count": 3, "their_payers_paid": "675.00"}
    assert answer["days"] == [{"day": str(day)} | figures]
    assert orjson.loads(asked_too_much.answer)["balanced"] is False
    with hub.database.connect() as connection:
        assert funds.listed(connection) == []


def test_settlements_are_compared_one_by_one_and_those_not_named_are_told_up_to_a_limit(hub, monkeypatch):
    settled(hub, "S-1", "S-2", "S-3", "S-4")
    hub.cancel("S-4")
    hub.pump()
    day = hub.case(hub.settle("S-1").case_id).business_day
    assert day is not None
    one = {"total": "300.00", "payers_paid": "225.00", "cash": "75.00"}
    check = {
        "institution": HOSPITAL,
        "period": {"first": str(day), "last": str(day)},
        "cases": [one | {"settlement_no": "S-2", "cash": "75.01"}, one | {"settlement_no": "S-9"}],
    }

    def checked(number: str, **changes: Any) -> tuple[bool, int, list[tuple[str, str]], bool]:
        taken = hub.send(Transaction.CASE_CHECK, check | {"request_no": number} | changes)
        answer = orjson.loads(taken.answer)
        found = [(one["settlement_no"], one["kind"]) for one in answer["differences"]]
        return answer["balanced"], answer["matched"], found, answer["more"]

    named = [("S-2", "amount"), ("S-9", "unknown_here")]
    unnamed = [("S-1", "missing_there"), ("S-3", "missing_there")]
    assert checked("C-1") == (False, 0, named + unnamed, False)
    monkeypatch.setattr("hub.clearing.DIFFERENCES_MAX", 3)
    assert checked("C-2") == (False, 0, named + unnamed[:1], True)
    all_three = [one | {"settlement_no": number} for number in ("S-1", "S-2", "S-3")]
    assert checked("C-3", cases=all_three) == (True, 3, [], False)
    longer = check | {"request_no": "C-4", "period": {"first": str(day), "last": str(day + timedelta(days=31))}}
    assert "at most 31 days" in str(hub.send(Transaction.CASE_CHECK, longer).error.violations)


def test_what_is_claimed_once_is_claimed_again_only_after_it_was_taken_back(hub):
    settled(hub, "S-1", "S-2")
    day = seal(hub)
    first = claims_of(hub, totals(day, "FS-1", **BOTH))
    again = hub.send(Transaction.FEES_SETTLE, totals(day, "FS-2", claim={}, **BOTH))
    by_kind = hub.send(Transaction.FEES_SETTLE, totals(day, "FS-3", claim={}, visit_kind="outpatient", **BOTH))
    cancel = {"institution": HOSPITAL, "request_no": "FC-1", "settle_request_no": "FS-1", "reason": "更正"}
    undone = orjson.loads(hub.send(Transaction.FEES_SETTLE_CANCEL, cancel).answer)
    repeated = hub.send(Transaction.FEES_SETTLE_CANCEL, cancel)
    second = claims_of(hub, totals(day, "FS-4", visit_kind="outpatient", **BOTH))

    assert set(first) == set(second) == {BASIC, CRITICAL}
    assert [one.error.code for one in (again, by_kind)] == ["claim.exists", "claim.overlaps"]
    assert again.error.message == f"claim {again.error.context['claim']} asks for exactly this already"
    assert again.error.context["claim"] in first.values()
    assert (sorted(undone["withdrawn"]), repeated.repeated) == (sorted(first.values()), True)
    unknown = hub.send(Transaction.FEES_SETTLE_CANCEL, cancel | {"request_no": "FC-2", "settle_request_no": "FS-9"})
    assert isinstance(unknown.error, NotFound)


def test_what_is_audited_cannot_be_taken_back_and_nobody_audits_alone(hub):
    settled(hub, "S-1", "S-2")
    desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **BOTH))[CRITICAL]
    asked = desk.ask("audit", f"claim/{number}", deducted="0.00")
    with pytest.raises(Forbidden):
        desk.approve(asked.id, "li")
    desk.ask("deduct", f"claim/{number}", settlement_no="S-1", amount="1.00", code="A01")

    outdated = desk.approve(asked.id)
    desk.do("audit", f"claim/{number}", deducted="1.00")
    cancel = {"institution": HOSPITAL, "request_no": "FC-1", "settle_request_no": "FS-1", "reason": "更正"}
    taken = hub.send(Transaction.FEES_SETTLE_CANCEL, cancel)

    assert (outdated.state, isinstance(taken.error, Conflict)) == ("failed", True)
    assert claim(hub, number).state == "audited"


def test_deductions_end_where_a_share_ends(hub):
    settled(hub, "S-1", "S-2")
    desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **BOTH))[CRITICAL]
    desk.do("deduct", f"claim/{number}", settlement_no="S-1", amount="70.00", code="A01")

    for refused, settlement_no, amount in ((Conflict, "S-1", "5.01"), (NotFound, "S-9", "1.00")):
        with pytest.raises(refused):
            desk.ask("deduct", f"claim/{number}", settlement_no=settlement_no, amount=amount, code="A01")
    with hub.database.connect() as connection:
        (noted,) = fund_audits.of_claim(connection, number)
    desk.do("take-back", f"claim/{number}", deduction=noted.deduction_id)
    desk.do("deduct", f"claim/{number}", settlement_no="S-1", amount="75.00", code="A01")


def test_a_deduction_that_is_asked_for_twice_is_made_once(hub):
    settled(hub, "S-1", "S-2")
    desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **BOTH))[CRITICAL]
    which, cut = f"claim/{number}", {"settlement_no": "S-1", "amount": "10.00", "code": "A01"}
    row = {"settlement_no": "S-2", "amount": "1.00", "code": "A02"}

    def deducted() -> list[int]:
        with hub.database.connect() as connection:
            return [one.amount_fen for one in fund_audits.of_claim(connection, number)]

    desk.do("deduct", which, **cut)
    again = desk.do("deduct", which, **cut)
    assert (deducted(), "all noted before" in again.outcome) == ([1_000], True)
    desk.do("deduct", which, rows=[cut, row, row])
    assert deducted() == [1_000, 100, 100], "two equal rows are two, and what was there before is not more"
    numbered = desk.do("deduct", which, **cut, request_no="R-1")
    assert desk.do("deduct", which, **cut, request_no="R-1").outcome.startswith(numbered.outcome.partition(",")[0])
    assert deducted() == [1_000, 100, 100, 1_000]
    with pytest.raises(Conflict, match="other deductions"):
        desk.ask("deduct", which, **cut | {"amount": "11.00"}, request_no="R-1")
    with hub.database.connect() as connection:
        first, *_, last = (one.deduction_id for one in fund_audits.of_claim(connection, number))
    for one in (first, last):
        desk.do("take-back", which, deduction=one)
    desk.do("deduct", which, **cut, request_no="R-1")
    desk.do("deduct", which, **cut)
    assert deducted() == [100, 100, 1_000], "a number is used up; without one it may be deducted anew"


def test_a_sample_is_drawn_again_by_its_seed(hub):
    settled(hub, *(f"S-{number}" for number in range(6)))
    sums = {"count": 6, "total": "1800.00", "payers_paid": "1350.00", "cash": "450.00"}
    desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **sums))[CRITICAL]

    def drawn(seed: str, size: int) -> list[str]:
        with hub.database.connect() as connection:
            return [one.settlement_no for one in fund_audits.draw(connection, claim(hub, number), seed, size)]

    desk.do("sample", f"claim/{number}", seed="s-1", basis_points=4_000)

    assert claim(hub, number).sample == {"seed": "s-1", "count": None, "basis_points": 4_000, "of": 6, "size": 3}
    assert drawn("s-1", 3) == drawn("s-1", 6)[:3] != drawn("s-2", 3)
    assert len(set(drawn("s-1", 6))) == 6


def test_a_settlement_undone_after_it_was_paid_is_netted_against_the_next_claim(hub):
    settled(hub, "S-1", "S-2")
    day, desk = seal(hub), Desk(hub)
    first = claims_of(hub, totals(day, "FS-1", **BOTH))[CRITICAL]
    desk.do("deduct", f"claim/{first}", settlement_no="S-1", amount="5.00", code="A01")
    desk.do("audit", f"claim/{first}", deducted="5.00")
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[first], amount="145.00")
    desk.do("confirm", f"payment/{ordered(hub).payment_no}", amount="145.00", paid_on=str(day))
    hub.clock.advance(86_400)
    hub.cancel("S-1")
    hub.pump()
    later = seal(hub)
    undone = {"count": -1, "total": "-300.00", "payers_paid": "-225.00", "cash": "-75.00"}
    second = claims_of(hub, totals(later, "FS-2", **undone))[CRITICAL]
    desk.do("audit", f"claim/{second}", deducted="0.00")

    assert claim(hub, second).payable_fen == -7_000
    assert balance(hub) == {"receivable": -7_000, "bank": 14_500}
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[second], amount="-70.00")
    payment = ordered(hub)
    said = confirmation(payment.payment_no, "70.00", later)
    answer = orjson.loads(hub.send(Transaction.PAYMENT_CONFIRM, said).answer)
    assert (answer["repayment"], answer["confirmed"]) == (True, "0.00"), "what is paid back was not sent by the payer"
    assert balance(hub) == {"bank": 7_500}
    with hub.database.connect() as connection, pytest.raises(Conflict):
        files.write(connection, CRITICAL, hub.hub.books.active().book, by="li", now=hub.clock.now())


def test_a_payment_is_confirmed_as_it_was_ordered_or_not_at_all(hub):
    settled(hub, "S-1", "S-2")
    day, desk = seal(hub), Desk(hub)
    number = claims_of(hub, totals(day, "FS-1", **BOTH))[CRITICAL]
    desk.do("audit", f"claim/{number}", deducted="0.00")
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[number], amount="150.00")
    first = ordered(hub).payment_no

    partly = hub.send(Transaction.PAYMENT_CONFIRM, confirmation(first, "149.99", day))
    desk.do("void", f"payment/{first}")
    back = balance(hub)
    late = hub.send(Transaction.PAYMENT_CONFIRM, confirmation(first, "150.00", day))
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[number], amount="150.00")
    done = hub.send(Transaction.PAYMENT_CONFIRM, confirmation(ordered(hub).payment_no, "150.00", day))
    strange = hub.send(Transaction.PAYMENT_CONFIRM, confirmation("P-9", "1.00", day, "PC-2"))

    assert [one.error.code for one in (partly, late)] == ["payment.amount", "payment.void"]  # type: ignore[union-attr]
    assert (back, balance(hub)) == ({"receivable": 15_000}, {"bank": 15_000})
    assert [orjson.loads(one.answer)["ordered"] for one in (done, strange)] == [True, False]
    with hub.database.connect() as connection:
        assert [one.payment_no for one in fund_payments.unordered(connection)] == ["P-9"]


def test_a_payment_file_declares_what_is_in_it_and_carries_an_order_once(hub):
    settled(hub, "S-1", "S-2")
    desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **BOTH))[CRITICAL]
    desk.do("audit", f"claim/{number}", deducted="0.00")
    desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=[number], amount="150.00")

    desk.do("file", f"payments/{CRITICAL}")

    with pytest.raises(Conflict):
        desk.ask("file", f"payments/{CRITICAL}")
    with hub.database.connect() as connection:
        payment = fund_payments.listed(connection)[0]
        kept = fund_payments.file(connection, payment.file_no or 0)
    assert kept is not None
    assert files.check(kept.content) == (CRITICAL, 1, 15_000)
    assert kept.content.decode().splitlines()[2] == f"{payment.payment_no},{HOSPITAL},一院,150.00,CNY,{number},,,,,,"


def test_an_order_keeps_the_accounts_that_two_people_agreed_to(database_url):
    def account(name: str, number: str) -> dict[str, str]:
        return {"name": name, "bank": "示例银行支行", "number": number}

    ours, theirs, moved = (account(name, 4 * name + 4 * "1234") for name in ("1001", "2002", "3003"))
    parties = [a_party(CRITICAL, bank_account=theirs)]
    hospital = {"code": HOSPITAL, "name": "一院", "region": REGION, "bank_account": ours}
    later = a_rule_book(parties=parties, institutions=[hospital | {"bank_account": moved}])

    with a_hub(database_url, parties=parties, institutions=[hospital], running=False) as hub:
        settled(hub, "S-1", "S-2")
        desk, number = Desk(hub), claims_of(hub, totals(seal(hub), "FS-1", **BOTH))[CRITICAL]
        desk.do("audit", f"claim/{number}", deducted="0.00")
        asked = {"claims": [number], "amount": "150.00", "payer_account": theirs}
        with pytest.raises(Conflict, match="as the rule book has them"):
            desk.ask("pay", f"fund/{HOSPITAL}/{CRITICAL}", **asked, institution_account=moved)
        desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", **asked, institution_account=ours)
        with hub.database.begin() as connection:
            file = files.write(connection, CRITICAL, later, by="li", now=hub.clock.now())

    (row,) = csv.DictReader(io.StringIO(file.content.decode().partition("\n")[2]))
    assert (row["payee_name"], row["payee_bank"], row["payee_account"]) == tuple(ours.values())
    assert (row["payer_account"], row["amount"]) == (theirs["number"], "150.00")


def test_the_year_pays_out_what_its_months_withheld_less_what_its_audit_refuses(hub):
    settled(hub, "S-1", "S-2")
    day, desk = seal(hub), Desk(hub)
    number = claims_of(hub, totals(day, "FS-1", **BOTH))[CRITICAL]
    desk.do("audit", f"claim/{number}", deducted="0.00", withheld_basis_points=1_000)
    pair = f"fund/{HOSPITAL}/{CRITICAL}"
    with pytest.raises(Conflict):
        desk.ask("year", pair, year=day.year)
    seal(hub, date(day.year, 12, 31))

    desk.do("year", pair, year=day.year)
    with hub.database.connect() as connection:
        (year,) = funds.listed(connection, kind="year")
    which = f"claim/{year.claim_no}"
    desk.do("deduct", which, amount="20.00", code="Q01", reason="quality score 84")
    desk.do("deduct", which, settlement_no="S-2", amount="30.00", code="A02", reason="no indication")
    desk.do("audit", which, deducted="50.00")
    desk.do("pay", pair, claims=[number, year.claim_no], amount="100.00")

    assert (year.amount_fen, claim(hub, year.claim_no).payable_fen) == (1_500, -3_500)
    assert balance(hub) == {"in_transit": 10_000, "deducted": 5_000}


def test_personal_accounts_are_paid_out_by_payers_whose_amounts_hold_them(hub):
    day, now = date(2026, 3, 2), hub.clock.now()
    book = a_rule_book(reconciliation=[{"party": BASIC, "account": "in_fund"}])
    taken = ledger.Entry(
        region=REGION, business_day=day, effective_day=day, institution=HOSPITAL, payer=BASIC, layer="basic",
        product="basic", kind=Kind.SETTLE, debit=Account.RECEIVABLE, credit=Account.PATIENT, amount_fen=8_000,
        cause="test/1",
    )  # fmt: skip
    with hub.database.begin() as connection:
        ledger.post(connection, [taken, replace(taken, debit=Account.PERSONAL, amount_fen=2_000)])
    seal(hub, day)

    with hub.database.begin() as connection:
        asked = Application(Scope(HOSPITAL, day, day, BASIC), "A-1")
        (made,) = claims.apply(connection, book, asked, by="li", now=now)
        audits.close(connection, made.claim_no, basis_points=1_000, action=1, by="li", now=now)
        payments.order(connection, BASIC, HOSPITAL, [made.claim_no], by="li", action=2, now=now)

    assert balance(hub, BASIC) == {"receivable": 800, "in_transit": 9_200}
    with hub.database.connect() as connection:
        (trio,) = fund_figures.standing(connection, payer=BASIC, with_account=[BASIC])
    assert (trio.advanced_fen, trio.to_be_settled_fen, trio.ordered_fen) == (10_000, 10_000, 9_200)


def test_a_payer_that_pays_out_accounts_is_asked_where_nothing_but_accounts_was_taken(hub):
    day = date(2026, 3, 2)
    taken = ledger.Entry(
        region=REGION, business_day=day, effective_day=day, institution=HOSPITAL, payer=BASIC, layer="basic",
        product="basic", kind=Kind.SETTLE, debit=Account.PERSONAL, credit=Account.PATIENT, amount_fen=2_000,
        cause="test/1",
    )  # fmt: skip
    with hub.database.begin() as connection:
        ledger.post(connection, [taken, replace(taken, payer=CRITICAL)])
    seal(hub, day)

    with hub.database.begin() as connection:
        book = a_rule_book(reconciliation=[{"party": BASIC, "account": "in_fund"}])
        made = claims.apply(
            connection, book, Application(Scope(HOSPITAL, day, day), "A-1"), by="li", now=hub.clock.now()
        )

    assert [(one.payer, one.asked_fen) for one in made] == [(BASIC, 2_000)]
