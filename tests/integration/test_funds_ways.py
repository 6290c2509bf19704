"""Claims by whatever way and for whomever: pharmacies, the national interface, the command line, in any order."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from hub.cli.app import app
from hub.funds import files, payments
from routing.postings import Account
from schemas.errors import Conflict, HubError
from schemas.money import yuan_of
from schemas.transactions import Transaction
from store import fund_audits, fund_figures, fund_payments, fund_totals, funds, ledger
from tests.support.builders import CRITICAL, HOSPITAL, REGION, a_settle_request
from tests.support.fund_days import Desk, claims_of, seal, totals
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub
from tests.support.master_data import BASIC_PARTY
from tests.support.national_his import NationalHis, a_purchase, insured
from tests.support.seeds import chance_of, seeds

PHARMACY = "P44030000009"
STEPS = 40


def test_a_pharmacy_claims_like_a_hospital(database_url):
    shops = [{"code": PHARMACY, "name": "大药房", "region": REGION, "amqp": True}]
    with a_hub(database_url, running=False, institutions=shops) as hub:
        bill = a_settle_request(30_000, "S-1", institution=PHARMACY)
        bill["visit"] |= {"kind": "pharmacy", "medical_type": "41"}
        hub.send(Transaction.SETTLE, bill, party=PHARMACY)
        hub.pump()
        sums = {"count": 1, "total": "300.00", "payers_paid": "225.00", "cash": "75.00", "visit_kind": "pharmacy"}
        day = seal(hub)
        number = claims_of(hub, totals(day, "FS-1", institution=PHARMACY, **sums), party=PHARMACY)[CRITICAL]
        desk = Desk(hub)
        desk.do("audit", f"claim/{number}", deducted="0.00")
        desk.do("pay", f"fund/{PHARMACY}/{CRITICAL}", claims=[number], amount="75.00")

        with hub.database.connect() as connection:
            assert (funds.read(connection, number).visit_kind, fund_payments.listed(connection)[0].amount_fen) == (
                "pharmacy",
                7_500,
            )


def test_the_national_application_asks_every_payer_and_is_taken_back_by_its_event(database_url):
    places = [{"code": HOSPITAL, "name": "一院", "region": REGION, "visits": "optional"}]
    with a_hub(database_url, parties=[BASIC_PARTY], institutions=places) as hub:
        insured(hub)
        his = NationalHis(hub.hub.gateway.port)
        his.identify()
        day = his.done("2102", a_purchase(30_000))["setlinfo"]["setl_time"][:10]
        money = {"medfee_sumamt": 300, "med_sumfee": 300, "fund_appy_sum": 225, "cash_payamt": 75, "acct_pay": 0}
        asked = {"clr_type": "41", "clr_way": "01", **money, "begndate": day, "enddate": day, "psntime": 1}

        early = his.refused("3203", {"data": asked})
        seal(hub, date.fromisoformat(day))
        wrong = his.refused("3203", {"data": {**asked, "fund_appy_sum": 224}})
        event = his.done("3203", {"data": asked})["result"]
        with hub.database.connect() as connection:
            made = funds.listed(connection)
        again = his.refused("3203", {"data": asked})
        his.done("3204", {"data": event})
        unknown = his.refused("3204", {"data": {"clr_appy_evt_id": "0"}})
        his.done("3203", {"data": {**asked, "setlym": day[:7].replace("-", "")}})

        assert (f"尚有1天未封账（{day}）" in early, "基金225.00元" in wrong, "该期间已申报" in again) == (True,) * 3
        assert sorted(one.amount_fen for one in made) == [7_500, 15_000]
        assert "未找到" in unknown
        with hub.database.connect() as connection:
            assert Counter(one.state.value for one in funds.listed(connection)) == {"withdrawn": 2, "applied": 2}


def test_the_command_line_takes_a_claim_to_its_statement(database_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"HUB_DATABASE_URL": database_url, "HUB_PERSON_KEY_SECRET": PERSON_SECRET, "HUB_OPERATOR": "li"}

    def run(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["fund", *arguments, "--json"], env=settings)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    with a_hub(database_url, running=False) as hub:
        desk = Desk(hub)

        def agreed(*arguments: str) -> None:
            asked = run(*arguments, "--reason", "as agreed")
            (action,) = asked.get("actions", [asked])
            assert desk.approve(action["id"]).state == "executed"

        for number in ("S-1", "S-2"):
            hub.settle(number)
        hub.pump()
        day = str(seal(hub))
        days = ("--first", day, "--last", day)
        apply = ["fund", "apply", HOSPITAL, CRITICAL, *days, "--reason", "as agreed"]
        applied, again = (CliRunner().invoke(app, apply, env=settings) for _ in range(2))
        Path("cuts.csv").write_text("settlement_no,amount,code,reason\nS-1,1.50,A01,限价\nS-2,2.00,A02,\n", "utf-8")
        run("sample", "1", "--percent", "50", "--seed", "s-1")
        run("deduct", "1", "--file", "cuts.csv", "--reason", "as agreed")
        agreed("audit", "1", "--withhold", "5")
        agreed("order", CRITICAL)
        nowhere = CliRunner().invoke(app, ["fund", "file", CRITICAL, "--out", "gone/pay.csv"], env=settings)
        file = run("file", CRITICAL, "--out", "pay.csv")
        payment_no = Path("pay.csv").read_text("utf-8").splitlines()[2].partition(",")[0]
        run("statement", payment_no, "--out", "s.xlsx")
        shown = run("show", "1")
        (trio,) = run("balance", "--payer", CRITICAL, *days)["balances"]
        text = CliRunner().invoke(app, ["fund", "show", "1"], env=settings).stdout
        with pytest.raises(Conflict, match=r"ordered are 139\.17"):
            desk.ask("confirm", f"payment/{payment_no}", amount="139.71", paid_on=day)

    assert "2 settlements, 150.00\nto audit it: hub fund sample 1 --percent 5, then" in applied.stdout
    assert (again.exit_code, "claim 1 asks for exactly this already" in again.output) == (1, True)
    assert (nowhere.exit_code, "there is no folder gone" in nowhere.output) == (2, True)
    assert (shown["state"], shown["national_state"], shown["payable"]) == ("ordered", "20", "139.17")
    assert [(one["amount"], one["reason"]) for one in shown["deductions"]] == [("1.50", "限价"), ("2.00", "as agreed")]
    assert (shown["sample"]["size"], len(shown["sample"]["drawn"])) == (1, 1)
    assert files.check(Path("pay.csv").read_bytes()) == (CRITICAL, 1, 13_917)
    assert file["total"] == "139.17"
    assert (trio["advanced"], trio["settled"], trio["deducted"], trio["ordered"]) == (
        *("150.00", "0.00"),
        *("3.50", "139.17"),
    )
    sheets = CalamineWorkbook.from_path("s.xlsx")
    assert sheets.get_sheet_by_name("申报 claims").to_python()[-1][-1] == 139.17
    assert "sample: 1 of 2 settlements, seed s-1" in text


class Life:
    """Operators and an institution who do anything in any order, and what must hold whatever they do."""

    def __init__(self, hub: TestHub, chance: random.Random) -> None:
        self.hub, self.chance, self.desk = hub, chance, Desk(hub)
        self.settled: list[str] = []
        self.cancelled_paid = False
        self.day: date | None = None

    def step(self) -> None:
        """One thing that somebody does; what is refused changes nothing."""
        acts = {self.settle: 5, self.cancel: 1, self.close_day: 2, self.claim: 4, self.deduct: 4, self.audit: 2}
        acts |= {self.order: 2, self.confirm: 2, self.void: 1}
        (act,) = self.chance.choices([*acts], [*acts.values()])
        try:
            act()
        except HubError:
            return

    def settle(self) -> None:
        number = f"S-{len(self.settled) + 1}"
        self.settled.append(number)
        self.hub.settle(number, self.chance.randrange(100, 100_000))
        self.hub.pump()

    def cancel(self) -> None:
        if self.settled:
            number = self.chance.choice(self.settled)
            self.hub.cancel(number, f"C-{number}")
            self.hub.pump()
            self.cancelled_paid = True

    def close_day(self) -> None:
        self.hub.clock.advance(86_400)
        self.day = seal(self.hub)
        if self.chance.random() < 0.6:
            with self.hub.database.begin() as connection:
                fund_totals.catch_up(connection)

    def claim(self) -> None:
        if self.day is not None:
            first = max(self.day.replace(day=1), self.day - timedelta(days=self.chance.randrange(3)))
            self.desk.ask("apply", f"fund/{HOSPITAL}/{CRITICAL}", first=str(first), last=str(self.day))

    def any_claim(self, state: str) -> funds.Claim | None:
        with self.hub.database.connect() as connection:
            found = funds.listed(connection, state=state)
        return self.chance.choice(found) if found else None

    def deduct(self) -> None:
        if (claim := self.any_claim("applied")) and self.settled:
            fen = self.chance.randrange(1, 4_000)
            number = self.chance.choice(self.settled[-5:])
            self.desk.ask("deduct", f"claim/{claim.claim_no}", settlement_no=number, amount=yuan_of(fen), code="A01")

    def audit(self) -> None:
        if claim := self.any_claim("applied"):
            with self.hub.database.connect() as connection:
                cuts = sum(one.amount_fen for one in fund_audits.of_claim(connection, claim.claim_no))
            points = self.chance.choice([0, 500, 3_333])
            asked = self.desk.ask(
                "audit", f"claim/{claim.claim_no}", deducted=yuan_of(cuts), withheld_basis_points=points
            )
            self.desk.approve(asked.id)

    def order(self) -> None:
        with self.hub.database.connect() as connection:
            waiting = payments.waiting(connection, CRITICAL).get(HOSPITAL, [])
        some = [one for one in waiting if self.chance.random() < 0.8]
        if some:
            amount = yuan_of(sum(one.payable_fen for one in some))
            numbers = [one.claim_no for one in some]
            self.desk.do("pay", f"fund/{HOSPITAL}/{CRITICAL}", claims=numbers, amount=amount)

    def any_payment(self) -> fund_payments.Payment | None:
        with self.hub.database.connect() as connection:
            found = fund_payments.listed(connection, state="ordered")
        return self.chance.choice(found) if found else None

    def confirm(self) -> None:
        if payment := self.any_payment():
            amount = yuan_of(abs(payment.amount_fen))
            self.desk.do("confirm", f"payment/{payment.payment_no}", amount=amount, paid_on="2026-03-02")

    def void(self) -> None:
        if (payment := self.any_payment()) and self.chance.random() < 0.4:
            self.desk.do("void", f"payment/{payment.payment_no}")

    def check(self) -> None:
        with self.hub.database.connect() as connection:
            found = ledger.balances(connection, institution=HOSPITAL, payer=CRITICAL)
            standing = found[0].balances if found else dict.fromkeys(Account, 0)
            trios = fund_figures.standing(connection, payer=CRITICAL)
            days = self.day and {"first": self.day - timedelta(days=self.chance.randrange(3)), "last": self.day}
            for by, period in ((["day"], {}), (["region", "product"], days or {})):
                told = fund_figures.standing(connection, by, **period)
                assert told == fund_figures.standing(connection, by, **period, from_entries=True)
            orders, claims = fund_payments.listed(connection), funds.listed(connection)
            unclaimed = connection.exec_driver_sql(_UNCLAIMED).scalar_one()
            unfair = connection.exec_driver_sql(_UNDONE_AND_DEDUCTED).all()
        trio = trios[0]
        assert standing[Account.IN_TRANSIT] == sum(one.amount_fen for one in orders if one.state == "ordered")
        assert standing[Account.BANK] == sum(one.amount_fen for one in orders if one.state == "confirmed")
        held = sum(one.amount_fen for one in claims if one.state == "applied")
        held += sum(one.payable_fen for one in claims if one.state == "audited")
        held += sum(one.withheld_fen for one in claims if one.state in ("audited", "ordered", "paid"))
        assert standing[Account.RECEIVABLE] == held + unclaimed
        assert trio.to_be_settled_fen == standing[Account.RECEIVABLE] + standing[Account.IN_TRANSIT]
        assert (trio.settled_fen, trio.deducted_fen) == (standing[Account.BANK], standing[Account.DEDUCTED])
        assert standing[Account.DEDUCTED] >= 0
        assert unfair == []
        if not self.cancelled_paid:
            assert min(standing[Account.RECEIVABLE], standing[Account.IN_TRANSIT]) >= 0


_UNCLAIMED = f"""SELECT coalesce(sum(CASE WHEN debit = 'receivable' THEN amount_fen ELSE -amount_fen END), 0)
    FROM ledger_entry e WHERE payer = '{CRITICAL}' AND 'receivable' IN (debit, credit)
    AND kind NOT IN ('deduction', 'payment', 'confirmation', 'repayment')
    AND NOT EXISTS (SELECT 1 FROM fund_claim_item i WHERE i.entry_id = e.entry_id)"""

_UNDONE_AND_DEDUCTED = """SELECT i.case_id FROM fund_claim_item i JOIN fund_claim c USING (claim_no)
    GROUP BY i.case_id
    HAVING sum(i.amount_fen) = 0 AND bool_and(c.state <> 'applied') AND coalesce((SELECT sum(d.amount_fen)
        FROM fund_deduction d WHERE d.case_id = i.case_id AND d.taken_back_by = ''), 0) <> 0"""
"""What was claimed, undone and claimed back, both audited, must have cost the institution nothing."""


@pytest.mark.parametrize("seed", seeds(20261122, soak=30))
def test_whatever_people_do_nothing_is_paid_twice_or_lost(database_url, seed):
    with a_hub(database_url, running=False) as hub:
        life = Life(hub, chance_of(seed))
        life.settle()
        for _ in range(STEPS):
            life.step()
            life.check()
