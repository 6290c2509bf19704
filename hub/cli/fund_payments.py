"""`hub fund order`, `payments`, `file`, `statement`, `confirm`, `void`: from audited claims to money in a bank."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, ask_for, office_of, operator, told

PaymentNo = Annotated[str, typer.Argument(metavar="PAYMENT", help="The payment's number, such as HP20260401-000001.")]
Payer = Annotated[str, typer.Argument(metavar="PAYER", help="The payer's code.")]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    for command in (order, payments, file, statement, confirm, void):
        group.command(command.__name__)(command)


def order(
    payer: Payer,
    reason: Reason,
    institution: Annotated[str, typer.Option(help="Only for this institution; else one order for each.")] = "",
    claim: Annotated[list[int] | None, typer.Option("--claim", help="Only these claims; repeat.")] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Order the payment of audited claims, one order per institution: they net each other. Another person must agree.

    Example: hub fund order YUEAN --reason "March" --by li
    """
    from hub.books import RuleBooks
    from hub.clock import SystemClock
    from hub.funds import payments as orders
    from hub.funds.views import account_as_dict
    from hub.people.views import action_as_dict
    from schemas.money import yuan_of

    by = operator(by)
    asked = []
    given = settings()
    with open_database(given) as engine, office_of(engine, given) as office:
        book = RuleBooks(engine, SystemClock()).active().book
        with engine.connect() as connection:
            waiting = orders.waiting(connection, payer, institution)
        for code, found in sorted(waiting.items()):
            chosen = [one for one in found if not claim or one.claim_no in claim]
            if chosen:
                amount = yuan_of(sum(one.payable_fen for one in chosen))
                detail: dict[str, Any] = {"claims": [one.claim_no for one in chosen], "amount": amount}
                accounts = orders.accounts_of(book, payer, code)
                for name, account in (("institution", accounts.institution), ("payer", accounts.payer)):
                    detail |= {f"{name}_account": account_as_dict(account)} if account else {}
                asked.append(office.actions.request("fund.pay", f"fund/{code}/{payer}", detail, reason, by))
    if as_json:
        show_json({"actions": [action_as_dict(one) for one in asked]})
        return
    for one in asked:
        institution_code = one.subject.split("/")[1]
        to = _paid_to(one.detail)
        console().print(f"{institution_code}: {one.detail['amount']}{to}; {told(one)}", markup=False, soft_wrap=True)
    if not asked:
        console().print("No audited claim waits for payment.")


def _paid_to(detail: Mapping[str, Any]) -> str:
    """The account that the money goes to, where there is one."""
    back = detail["amount"].startswith("-")
    account = detail.get("payer_account" if back else "institution_account")
    return f" to {account['number']}, {account['bank']}, {account['name']}" if account else ""


def payments(
    payer: Annotated[str, typer.Option(help="Only this payer's.")] = "",
    institution: Annotated[str, typer.Option(help="Only this institution's.")] = "",
    state: Annotated[str, typer.Option(help="Only ordered, confirmed or void.")] = "",
    unordered: Annotated[bool, typer.Option(help="Confirmations of payments that nobody ordered here.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List payments, the newest first; below zero the institution pays back.

    Example: hub fund payments --state ordered
    """
    from hub.cli import fund_views
    from hub.funds.views import payment_as_dict, unordered_as_dict
    from store import fund_payments

    with open_database(settings()) as engine, engine.connect() as connection:
        strange = fund_payments.unordered(connection, payer=payer, institution=institution, limit=limit)
        found = fund_payments.listed(connection, payer=payer, institution=institution, state=state, limit=limit)
    if as_json:
        shown: list[dict[str, Any]] = [unordered_as_dict(one) for one in strange]
        show_json({"payments": shown if unordered else [payment_as_dict(one) for one in found]})
    elif unordered:
        console().print(fund_views.unordered(strange) if strange else "Every confirmed payment was ordered here.")
    else:
        console().print(fund_views.payments(found) if found else "No such payments.")
        if strange:
            console().print(f"{len(strange)} confirmed without an order: hub fund payments --unordered")


def file(
    payer: Payer,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Write the file here.")],
    again: Annotated[int | None, typer.Option(metavar="FILE_NO", help="Write this earlier file once more.")] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Write the orders of a payer that no file carries yet into a CSV file for its bank, with count, total and hash.

    Example: hub fund file YUEAN --out payments.csv --by li
    """
    from hub.funds import files
    from hub.funds.views import file_as_dict
    from store import fund_payments

    by = operator(by)
    given = settings()
    if not out.parent.is_dir():
        fail(f"--out: there is no folder {out.parent}", USAGE)
    with open_database(given) as engine:
        number = again
        if number is None:
            with office_of(engine, given) as office:
                action = office.actions.request("fund.file", f"payments/{payer}", {}, f"file for {payer}", by)
            number = int(action.outcome.removeprefix("file ").partition(":")[0])
        with engine.connect() as connection:
            found = fund_payments.file(connection, number)
            missing = files.without_account(fund_payments.in_file(connection, number))
    if found is None or found.payer != payer:
        fail(f"there is no file {number} of {payer}")
    try:
        out.write_bytes(found.content)
    except OSError as error:
        # The file is made and its orders are in no other: who does not know its number cannot have it.
        once_more = f"hub fund file {payer} --out ELSEWHERE --again {number}"
        fail(f"{out}: {error.strerror}; file {number} is made all the same: {once_more}")
    if as_json:
        show_json(file_as_dict(found))
    else:
        from schemas.counting import how_many
        from schemas.money import yuan_of

        what = f"{how_many(found.payments, 'payment')}, {yuan_of(found.total_fen)}"
        console().print(f"file {found.file_no}: {what}, written to {out}", soft_wrap=True)
        if missing:
            console().print(f"without an account to pay to: {', '.join(missing)}", markup=False, soft_wrap=True)


def statement(
    payment: PaymentNo,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Write the workbook (.xlsx) here.")],
    as_json: AsJson = False,
) -> None:
    """Write the statement of a payment for its institution: claims, deductions with reasons, netting, days.

    Example: hub fund statement HP20260401-000001 --out statement.xlsx
    """
    from hub.funds import workbook
    from hub.funds.views import payment_as_dict

    with open_database(settings()) as engine, engine.begin() as connection:
        found = workbook.statement(connection, payment)
    workbook.write(out, found)
    if as_json:
        show_json(payment_as_dict(found.payment) | {"file": str(out)})
    else:
        from schemas.counting import how_many

        console().print(f"{how_many(len(found.claims), 'claim')}, written to {out}", soft_wrap=True)


def confirm(
    payment: PaymentNo,
    amount: Annotated[str, typer.Argument(metavar="YUAN", help="What came (or went back), such as 12345.60.")],
    on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day of the bank.")],
    reason: Reason,
    reference: Annotated[str, typer.Option(help="The bank's reference.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Confirm a payment for an institution that does not send `payment.confirm`; another person must agree.

    Example: hub fund confirm HP20260401-000001 12345.60 --on 2026-04-02 --reason "their letter of 2 April" --by li
    """
    detail = {"amount": amount, "paid_on": str(on.date())} | ({"bank_reference": reference} if reference else {})
    given = settings()
    with open_database(given) as engine:
        ask_for(engine, given, "fund.confirm", f"payment/{payment}", detail, reason, by, as_json=as_json)


def void(payment: PaymentNo, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Take an order back that the bank did not carry out; another person must agree. Its claims can be ordered anew.

    Example: hub fund void HP20260401-000001 --reason "returned by the bank: account closed" --by li
    """
    given = settings()
    with open_database(given) as engine:
        ask_for(engine, given, "fund.void", f"payment/{payment}", {}, reason, by, as_json=as_json)
