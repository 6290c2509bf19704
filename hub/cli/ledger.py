"""`hub ledger`: what is booked, and what stands: advanced, paid, still to be paid."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.case import Which, find_case
from hub.cli.common import USAGE, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from datetime import date

    from store.ledger import Balance, Posted

Day = typer.Option(formats=["%Y-%m-%d"], help="A business day, as 2026-03-02.")
_SHOWN = {
    "charges": "billed",
    "patient": "patients",
    "receivable": "payers owe",
    "personal": "accounts",
    "hospital": "hospital",
    "in_transit": "in transit",
    "bank": "received",
    "deducted": "deducted",
    "difference": "differences",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The ledger: what every case booked, and what stands.")
    group.command("balances")(balances)
    group.command("case")(case)
    app.add_typer(group, name="ledger")


def balances(
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Group by institution, payer, region, product, layer or day; repeat."),
    ] = None,
    first: Annotated[datetime | None, Day] = None,
    last: Annotated[datetime | None, Day] = None,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    payer: Annotated[str | None, typer.Option(help="Only this payer's.")] = None,
    region: Annotated[str | None, typer.Option(help="Only this region's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what stands on the accounts, in yuan. The columns of a row add up to nothing: that is double entry.

    Example: hub ledger balances --by payer --by institution --first 2026-03-01 --last 2026-03-31
    """
    from store import ledger
    from store.database import open_engine

    keys = by or []
    if unknown := [key for key in keys if key not in ledger.GROUPINGS]:
        fail(f"--by: {unknown[0]} is not one of {', '.join(ledger.GROUPINGS)}", USAGE)
    with database_url(settings()) as url:
        engine = open_engine(url, pool_size=1, application="hub-cli", by_key=False)
        with engine.connect() as connection:
            found = ledger.balances(
                connection,
                keys,
                first=_day(first),
                last=_day(last),
                institution=institution,
                payer=payer,
                region=region,
            )
        engine.dispose()
    if as_json:
        show_json({"by": keys, "balances": [_balance_as_dict(keys, one) for one in found]})
    else:
        _show_balances(keys, found)


def case(
    which: Which,
    as_json: AsJson = False,
) -> None:
    """Show everything that was booked of one case, oldest first.

    Example: hub ledger case H44030000001/S20260930-0000042
    """
    from hub.cli.common import open_database
    from schemas.money import yuan_of
    from store import corrections, ledger

    with open_database(settings()) as engine, engine.connect() as connection:
        case_id = find_case(connection, which)
        found = ledger.of_case(connection, case_id)
        left = corrections.left(connection, case_id)
    if as_json:
        rest = [corrections.as_found(one).facts for one in left]
        show_json({"case_id": case_id, "entries": [_entry_as_dict(one) for one in found], "corrections_left": rest})
        return
    _show_entries(found)
    for one in left:
        told = f"leg {one.leg_no} was undone after a difference was posted: {yuan_of(one.fen)} stays on {one.payer}"
        console().print(f"{told}; hub recon run --party {one.payer} --day {one.day}", markup=False, soft_wrap=True)


def _day(given: datetime | None) -> date | None:
    return given.date() if given is not None else None


def _balance_as_dict(keys: list[str], one: Balance) -> dict[str, Any]:
    from schemas.money import yuan_of

    amounts = {account.value: yuan_of(fen) for account, fen in one.balances.items()}
    return dict(zip(keys, one.key, strict=True)) | {"settlements": one.cases, "accounts": amounts}


def _entry_as_dict(one: Posted) -> dict[str, Any]:
    from dataclasses import asdict

    from schemas.money import yuan_of

    values = asdict(one)
    return values | {"amount": yuan_of(values.pop("amount_fen"))}


def _show_balances(keys: list[str], found: list[Balance]) -> None:
    from rich.table import Table

    from schemas.money import yuan_of

    if not found:
        console().print("Nothing is booked there.")
        return
    used = [account for account in found[0].balances if any(one.balances[account] for one in found)]
    table = Table(*keys, box=None, pad_edge=False)
    for account in used:
        table.add_column(_SHOWN[account.value], justify="right")
    for one in found:
        table.add_row(*(key or "-" for key in one.key), *(yuan_of(one.balances[account]) for account in used))
    console().print(table)


def _show_entries(found: list[Posted]) -> None:
    from rich.table import Table

    from schemas.money import yuan_of

    if not found:
        console().print("Nothing is booked of this case.")
        return
    table = Table("entry", "day", "effective", "why", "from", "to", "payer", "leg", box=None, pad_edge=False)
    table.add_column("yuan", justify="right")
    for one in found:
        # Debit is where it goes: the payer's debt grows, the patient's shrinks.
        table.add_row(
            str(one.entry_id),
            f"{one.business_day}",
            f"{one.effective_day}",
            one.kind.value + (f" ({one.cause})" if one.cause else ""),
            one.credit.value,
            one.debit.value,
            one.payer or "-",
            "-" if one.leg_no is None else str(one.leg_no),
            yuan_of(one.amount_fen),
        )
    console().print(table)
