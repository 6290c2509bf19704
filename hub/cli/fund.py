"""`hub fund`: what institutions advanced, and how it is paid back: claims, audits; payments in `fund_payments`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import fund_payments
from hub.cli.common import USAGE, AsJson, console, fail, open_database, settings, show_json
from hub.cli.office import By, Reason, Then, ask_for

if TYPE_CHECKING:
    from store.actions import Action
    from store.fund_figures import Standing

ClaimNo = Annotated[int, typer.Argument(metavar="CLAIM", min=1, help="The claim's number.")]
Institution = Annotated[str, typer.Argument(metavar="INSTITUTION", help="The institution's code.")]
Payer = Annotated[str, typer.Argument(metavar="PAYER", help="The payer's code.")]
Day = typer.Option(formats=["%Y-%m-%d"], help="A business day, as 2026-03-02.")
Month = Annotated[str, typer.Option(metavar="YYYY-MM", help="All days of this month.")]
OnlyInstitution = Annotated[str, typer.Option("--institution", help="Only this institution's.")]
OnlyPayer = Annotated[str, typer.Option("--payer", help="Only this payer's.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Advanced money: claims by month and year, audits, payments, what is still owed."
    )
    group.command("balance")(balance)
    group.command("apply")(apply_)
    group.command("claims")(claims)
    group.command("show")(show)
    group.command("sample")(sample)
    group.command("deduct")(deduct)
    group.command("audit")(audit)
    group.command("withdraw")(withdraw)
    group.command("year")(year)
    fund_payments.add(group)
    app.add_typer(group, name="fund")


def balance(
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Group by institution, payer, region, product, layer or day; repeat."),
    ] = None,
    first: Annotated[datetime | None, Day] = None,
    last: Annotated[datetime | None, Day] = None,
    institution: OnlyInstitution = "",
    payer: OnlyPayer = "",
    region: Annotated[str, typer.Option(help="Only this region's.")] = "",
    anew: Annotated[
        bool, typer.Option("--anew", help="First add the totals of sealed days up anew from their entries.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was advanced, settled, deducted, and what is still to be settled, in yuan.

    Money that moved counts for the days that its claim was for. Sealed days are read from their totals.

    Example: hub fund balance --by institution --by payer --first 2026-03-01 --last 2026-03-31
    """
    from hub.funds.views import standing_as_dict
    from store.ledger import GROUPINGS

    keys = by or ["institution", "payer"]
    if unknown := [key for key in keys if key not in GROUPINGS]:
        fail(f"--by: {unknown[0]} is not one of {', '.join(GROUPINGS)}", USAGE)
    found = _standing(keys, first, last, (institution, payer, region), anew=anew)
    if as_json:
        show_json({"balances": [standing_as_dict(one, keys) for one in found]})
        return
    from rich.table import Table

    from schemas.money import yuan_of

    table = Table(*keys, box=None, pad_edge=False)
    for name in ("advanced", "settled", "deducted", "to be settled", "of it ordered"):
        table.add_column(name, justify="right")
    for one in found:
        fens = (one.advanced_fen, one.settled_fen, one.deducted_fen, one.to_be_settled_fen, one.ordered_fen)
        table.add_row(*one.key, *map(yuan_of, fens))
    console().print(table if found else "Nothing is booked.")


def _standing(
    keys: list[str], first: datetime | None, last: datetime | None, only: tuple[str, str, str], *, anew: bool
) -> list[Standing]:
    from hub.books import RuleBooks
    from hub.clock import SystemClock
    from hub.funds.claims import with_accounts
    from store import fund_figures, fund_totals

    institution, payer, region = (one or None for one in only)
    with open_database(settings()) as engine:
        book = RuleBooks(engine, SystemClock()).active().book
        with engine.begin() as connection:
            add_up = fund_totals.add_up_anew if anew else fund_totals.catch_up
            add_up(connection)
        with engine.begin() as connection:
            fund_figures.read_whole_periods(connection)
            return fund_figures.standing(
                connection,
                keys,
                first=first.date() if first else None,
                last=last.date() if last else None,
                with_account=with_accounts(book),
                institution=institution,
                payer=payer,
                region=region,
            )


def apply_(
    institution: Institution,
    payer: Payer,
    reason: Reason,
    month: Month = "",
    first: Annotated[datetime | None, Day] = None,
    last: Annotated[datetime | None, Day] = None,
    kind: Annotated[str, typer.Option(help="Only outpatient, inpatient or pharmacy.")] = "",
    region: Annotated[str, typer.Option(help="Only persons insured in this region.")] = "",
    way: Annotated[str, typer.Option(help="clr_way: 01 item, 02 disease, 03 day, 04 capitation, 05 DRG, 99.")] = "01",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Claim for an institution what it advanced on sealed days of a month, as its own `fees.settle` does.

    Example: hub fund apply H45010000001 YUEAN --month 2026-03 --reason "month of March" --by li
    """
    days = _days(month, first, last)
    detail = {"first": str(days[0]), "last": str(days[1]), "way": way}
    detail |= {"visit_kind": kind} if kind else {}
    detail |= {"region": region} if region else {}
    _ask("fund.apply", f"fund/{institution}/{payer}", detail, reason, by, as_json=as_json, then=_to_audit)


def _to_audit(action: Action) -> str:
    from hub.funds.kinds import claim_no_of

    number = claim_no_of(action.outcome)
    return f"to audit it: hub fund sample {number} --percent 5, then hub fund audit {number} --reason WHY"


def _days(month: str, first: datetime | None, last: datetime | None) -> tuple[date, date]:
    """The days that are meant: of the month, or from `--first` to `--last`."""
    import calendar

    if month:
        try:
            start = datetime.strptime(month, "%Y-%m").date()
        except ValueError:
            fail("--month: write it as 2026-03", USAGE)
        return start, start.replace(day=calendar.monthrange(start.year, start.month)[1])
    if first is None or last is None:
        fail("name the days: --month, or --first and --last", USAGE)
    return first.date(), last.date()


def claims(
    institution: OnlyInstitution = "",
    payer: OnlyPayer = "",
    state: Annotated[str, typer.Option(help="Only applied, audited, ordered, paid or withdrawn.")] = "",
    kind: Annotated[str, typer.Option(help="Only month or year.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List claims, the newest first.

    Example: hub fund claims --payer YUEAN --state applied
    """
    from hub.cli import fund_views
    from hub.funds.views import claim_as_dict
    from store import funds

    with open_database(settings()) as engine, engine.connect() as connection:
        found = funds.listed(connection, institution=institution, payer=payer, state=state, kind=kind, limit=limit)
    if as_json:
        show_json({"claims": [claim_as_dict(one) for one in found]})
    else:
        console().print(fund_views.claims(found) if found else "No such claims.")


def show(claim: ClaimNo, as_json: AsJson = False) -> None:
    """Show one claim: its parts, deductions and sample, and what to run next.

    Example: hub fund show 7
    """
    from hub.cli import fund_views
    from hub.funds import audits
    from hub.funds.views import shown_as_dict
    from store import fund_audits, funds

    with open_database(settings()) as engine, engine.begin() as connection:
        found = funds.read(connection, claim)
        if found is None:
            fail(f"there is no claim {claim}")
        parts = funds.parts(connection, [claim])
        deductions = fund_audits.of_claim(connection, claim)
        drawn = audits.drawn_again(connection, found)
    if as_json:
        show_json(shown_as_dict(found, parts, deductions, drawn))
    else:
        fund_views.show(found, parts, deductions, drawn, console())


def sample(
    claim: ClaimNo,
    reason: Reason = "sample of the audit",
    count: Annotated[int | None, typer.Option(min=1, max=100_000, help="So many settlements.")] = None,
    percent: Annotated[float | None, typer.Option(min=0.01, max=100, help="This share of all settlements.")] = None,
    seed: Annotated[str, typer.Option(help="The seed of the draw; a fresh one when left out.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Draw settlements to be audited. The same seed draws the same ones again; the seed is kept with the claim.

    Example: hub fund sample 7 --percent 5 --by li
    """
    import secrets

    if (count is None) == (percent is None):
        fail("--count or --percent: name one of them", USAGE)
    detail: dict[str, Any] = {"seed": seed or secrets.token_hex(8)}
    detail |= {"count": count} if percent is None else {"basis_points": round(percent * 100)}
    _ask("fund.sample", f"claim/{claim}", detail, reason, by, as_json=as_json, then=f"hub fund show {claim}")


def deduct(
    claim: ClaimNo,
    settlement: Annotated[str, typer.Argument(metavar="[SETTLEMENT]", help="The institution's number.")] = "",
    amount: Annotated[str, typer.Argument(metavar="[YUAN]", help="How much, such as 12.50.")] = "",
    code: Annotated[str, typer.Option(help="The code of the reason.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV: settlement_no, amount, code, reason; all rows or none."),
    ] = None,
    take_back: Annotated[int | None, typer.Option(help="Take this deduction back instead.")] = None,
    whole: Annotated[str, typer.Option(metavar="YUAN", help="Deduct from a year's claim as a whole.")] = "",
    request_no: Annotated[
        str, typer.Option(help="A number of your own: under it nothing is deducted twice, however often it is asked.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, without anybody's personal data.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Deduct from a settlement of a claim, from many by a file, or take a deduction back. Booked with the audit.

    The same asked for again deducts nothing again, unless it comes under another --request-no.

    Example: hub fund deduct 7 S-20260302-18 120.00 --code A01 --reason "no indication for the second CT" --by li
    """
    subject, then = f"claim/{claim}", f"hub fund show {claim}"
    if take_back is not None:
        _ask("fund.take-back", subject, {"deduction": take_back}, reason, by, as_json=as_json, then=then)
        return
    if file is not None:
        detail: dict[str, Any] = {"rows": _rows(file)}
    elif whole:
        detail = {"amount": whole, "code": code}
    elif settlement and amount:
        detail = {"settlement_no": settlement, "amount": amount, "code": code}
    else:
        fail("name a settlement and an amount, --whole, --file or --take-back", USAGE)
    detail |= {"request_no": request_no} if request_no else {}
    _ask("fund.deduct", subject, detail, reason, by, as_json=as_json, then=then)


def _rows(path: Path) -> list[dict[str, str]]:
    from hub.cli.fund_cuts import WrongRows, read_cuts

    try:
        return read_cuts(path)
    except WrongRows as error:
        fail(f"--file: {error}", USAGE)


def audit(
    claim: ClaimNo,
    reason: Reason,
    withhold: Annotated[float, typer.Option(min=0, max=100, help="Percent held back until the year's audit.")] = 0,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Close the audit of a claim: another person must agree, then its deductions are booked and the rest is payable.

    Example: hub fund audit 7 --withhold 5 --reason "sample of 40, two deductions" --by li
    """
    from schemas.money import yuan_of
    from store import fund_audits

    given = settings()
    with open_database(given) as engine:
        with engine.connect() as connection:
            deducted = sum(one.amount_fen for one in fund_audits.of_claim(connection, claim))
        detail = {"withheld_basis_points": round(withhold * 100), "deducted": yuan_of(deducted)}
        ask_for(engine, given, "fund.audit", f"claim/{claim}", detail, reason, by, as_json=as_json)


def withdraw(claim: ClaimNo, reason: Reason, by: By = "", as_json: AsJson = False) -> None:
    """Take a claim back that is not audited yet, for the institution; its settlements can be claimed anew.

    Example: hub fund withdraw 7 --reason "they asked us to: wrong clr_way" --by li
    """
    _ask("fund.withdraw", f"claim/{claim}", {}, reason, by, as_json=as_json)


def year(
    institution: Institution,
    payer: Payer,
    the_year: Annotated[int, typer.Argument(metavar="YEAR", min=2000, max=2999)],
    reason: Reason,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Claim what was withheld in a year whose days are all sealed. Audit and order it like any claim.

    Example: hub fund year H45010000001 YUEAN 2026 --reason "yearly settlement" --by li
    """
    subject, detail = f"fund/{institution}/{payer}", {"year": the_year}
    _ask("fund.year", subject, detail, reason, by, as_json=as_json, then=_to_audit)


def _ask(
    kind: str, subject: str, detail: dict[str, Any], reason: str, by: str, *, as_json: bool, then: Then = ""
) -> None:
    given = settings()
    with open_database(given) as engine:
        ask_for(engine, given, kind, subject, detail, reason, by, as_json=as_json, then=then)
