"""The statement of a payment for its institution, as a workbook: what it nets, what was deducted and why, the days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from hub.funds import payments
from routing.days import CHINA_STANDARD_TIME
from schemas.bank import BankAccount
from schemas.errors import NotFound
from store import fund_audits, fund_figures, fund_payments
from store.fund_audits import Deduction
from store.fund_figures import Scope, Sums
from store.fund_payments import Payment
from store.funds import Claim

Table = list[list[Any]]
_MONEY = "#,##0.00"


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything that a payment's statement says."""

    payment: Payment
    claims: list[Claim]
    deductions: list[tuple[Claim, Deduction]]
    days: list[tuple[Claim, date, Sums]]


def statement(connection: Connection, payment_no: str) -> Statement:
    """The statement of an order; NotFound when there is none."""
    payment = fund_payments.read(connection, payment_no)
    if payment is None:
        raise NotFound("there is no such payment", code="payment.not_found")
    fund_figures.read_whole_periods(connection)
    found = [one.claim for one in payments.explained(connection, payment)]
    deductions = [(one, cut) for one in found for cut in fund_audits.of_claim(connection, one.claim_no)]
    days = [
        (one, day, sums)
        for one in found
        if one.kind == "month"
        for day, sums in fund_figures.by_day(connection, _scope(one)).items()
    ]
    return Statement(payment, found, deductions, days)


def _scope(claim: Claim) -> Scope:
    return Scope(
        claim.institution,
        claim.first_day,
        claim.last_day,
        claim.payer,
        claim.region,
        claim.visit_kind,
        claim.insurance_type,
    )


def write(path: Path, told: Statement) -> None:
    """Write the workbook; it holds no personal data."""
    import xlsxwriter

    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        money = book.add_format({"num_format": _MONEY})
        head = book.add_format({"bold": True, "bottom": 1})
        for name, table in (
            ("付款 payment", _payment_table(told.payment)),
            ("申报 claims", _claims_table(told.claims)),
            ("扣款 deductions", _deductions_table(told.deductions)),
            ("逐日 days", _days_table(told.days)),
        ):
            _fill(book.add_worksheet(name), table, head, money)


def _fill(sheet: Any, table: Sequence[Sequence[Any]], head: Any, money: Any) -> None:
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, 12, 16)
    for number, row in enumerate(table):
        for column, value in enumerate(row):
            if isinstance(value, float):
                sheet.write_number(number, column, value, money)
            else:
                sheet.write(number, column, value, head if number == 0 else None)


def _yuan(fen: int) -> float:
    """For a cell: spreadsheets have no other numbers, and two decimals of such amounts survive in them."""
    return fen / 100


def _payment_table(payment: Payment) -> Table:
    return [
        ["付款单 payment", payment.payment_no],
        ["付款方 payer", payment.payer],
        ["收款方 institution", payment.institution],
        ["金额 amount", _yuan(payment.amount_fen)],
        ["状态 state", payment.state],
        ["下单时间 ordered", f"{payment.ordered_at.astimezone(CHINA_STANDARD_TIME):%Y-%m-%d %H:%M:%S}"],
        ["到账日期 paid on", "" if payment.paid_on is None else str(payment.paid_on)],
        ["银行流水 bank reference", payment.bank_reference],
        *_account_rows("机构账户 institution's account", payment.institution_account),
        *_account_rows("付款方账户 payer's account", payment.payer_account),
    ]


def _account_rows(title: str, account: BankAccount | None) -> Table:
    return [] if account is None else [[title, f"{account.number}, {account.bank}, {account.name}"]]


def _claims_table(claims: Sequence[Claim]) -> Table:
    titles = "申报 claim,类别 kind,起 first,止 last,人次 settlements,总额 total,份额 shares,账户 account,"
    titles += "扣款 deducted,预留 withheld,应付 payable"
    rows: Table = [titles.split(",")]
    for one in claims:
        fens = (one.total_fen, one.amount_fen, one.account_fen if one.account_included else 0, one.deducted_fen)
        rows.append(
            [
                one.claim_no,
                one.kind,
                str(one.first_day),
                str(one.last_day),
                one.settlements,
                *map(_yuan, (*fens, one.withheld_fen, one.payable_fen)),
            ]
        )
    sums = [sum(row[column] for row in rows[1:]) for column in range(5, 11)]
    return [*rows, ["合计 sum", "", "", "", sum(row[4] for row in rows[1:]), *map(float, sums)]]


def _deductions_table(deductions: Sequence[tuple[Claim, Deduction]]) -> Table:
    rows: Table = [["申报 claim", "结算号 settlement", "产品 product", "金额 amount", "代码 code", "原因 reason"]]
    for claim, one in deductions:
        rows.append(
            [claim.claim_no, one.settlement_no, one.product, _yuan(one.amount_fen), one.code, one.reason],
        )
    return rows


def _days_table(days: Sequence[tuple[Claim, date, Sums]]) -> Table:
    rows: Table = [["申报 claim", "日期 day", "人次 settlements", "总额 total", "份额 shares", "账户 account"]]
    for claim, day, sums in days:
        fens = (sums.total_fen, sums.paid_fen, sums.account_fen)
        rows.append([claim.claim_no, str(day), sums.count, *map(_yuan, fens)])
    return rows
