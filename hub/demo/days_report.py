"""What several days came to, as plain data and as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.demo.days import DaysReport
from hub.demo.days_close import ClosedDay, Found
from hub.demo.days_faults import called
from schemas.money import yuan_of
from schemas.statement import CLASS_MEANINGS, BreakClass
from store.fund_figures import Standing

SHOWN_MAX = 20
EARLY = "ended by the hourly look, before anybody compared"
_CHAIN_SHOWN = 16
_GOOD, _BAD = "bold green", "bold red"


def days_as_dict(report: DaysReport) -> dict[str, Any]:
    """For JSON: money as yuan text."""
    month, compared = report.month, report.compared
    return {
        "cases": report.cases,
        "cancels": report.cancels,
        "statuses": report.statuses,
        "days": [_day_as_dict(one) for one in report.days],
        "classes": {name: figures for name, *figures in _by_class(report)},
        "breaks": [_found_as_dict(one) for one in report.found],
        "exact": compared.exact,
        "missed": [f"{one.what}: {one.item}" for one in compared.missed],
        "called_otherwise": [f"{one.what}: {one.item} found as {called(known)}" for one, known in compared.wrongly],
        "surplus": [_found_as_dict(one) for one in compared.surplus],
        "ended_early": [
            {"party": one.item.party, "day": one.item.day.isoformat(), "institution": one.item.institution,
             "settlement_no": one.item.settlement_no, "what": one.what, "ended": one.ended} for one in report.early
        ],
        "actions": report.actions,
        "actions_alone": report.alone,
        "month": {
            "claims": month.claims,
            "asked": yuan_of(month.asked_fen),
            "sampled": month.sampled,
            "deductions": [
                {"claim": one.claim_no, "payer": one.payer, "settlement_no": one.settlement_no,
                 "amount": yuan_of(one.fen), "reason": one.reason} for one in month.deductions
            ],
            "payments": month.payments,
            "files": month.files,
            "confirmed": yuan_of(month.confirmed_fen),
            "payers": [_standing_as_dict(one) for one in month.by_payer],
            "institutions": [_standing_as_dict(one) for one in month.by_institution],
            "paid": month.paid,
        },
        "troubles": report.troubles,
        "broken": report.broken,
        "open": [_found_as_dict(one) for one in report.open],
        "good": report.good,
        "folder": report.folder or None,
    }  # fmt: skip


def _day_as_dict(one: ClosedDay) -> dict[str, Any]:
    seal = one.seal
    return {
        "day": one.day.isoformat(),
        "runs": one.runs,
        "statements": {party: way.value for party, way in one.ways.items()},
        "entries": seal.entries if seal else None,
        "amount": yuan_of(seal.amount_fen) if seal else None,
        "chain": seal.chain if seal else None,
        "sealed_by": [seal.sealed_by, seal.approved_by] if seal else None,
    }


def _found_as_dict(one: Found) -> dict[str, Any]:
    return {
        "party": one.item.party,
        "day": one.item.day.isoformat(),
        "institution": one.item.institution,
        "settlement_no": one.item.settlement_no,
        "found_as": one.first_as.value,
        "ended_as": one.ended_as.value,
        "how": one.how or ("explains itself" if one.explains_itself else ""),
        "difference": yuan_of(one.difference_fen),
    }


def _standing_as_dict(one: Standing) -> dict[str, Any]:
    return {
        "of": "/".join(one.key),
        "advanced": yuan_of(one.advanced_fen),
        "settled": yuan_of(one.settled_fen),
        "deducted": yuan_of(one.deducted_fen),
        "to_be_settled": yuan_of(one.to_be_settled_fen),
    }


def show_days(report: DaysReport, console: Console) -> None:
    """The days, what was found in them, what became of it, and who paid."""
    statuses = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in report.statuses.items())
    console.print(
        f"\n[bold]{report.cases} settlements on {len(report.days)} days[/]: {statuses}; {report.cancels} undone"
    )
    tables = [_days(report), _ways(report)]
    tables += [_classes(report)] if report.found or report.faults else []
    tables += [_injected(report)] if report.faults else []
    for table in (*tables, _money(report)):
        console.print()
        console.print(table)
    _show_month(report, console)
    _show_what_is_wrong(report, console)
    _show_verdict(report, console)


def _days(report: DaysReport) -> Table:
    table = _table("The days", ("day",), ("compared", "entries", "yuan moved"), ("sealed by", "chain of seals"))
    for one in report.days:
        seal = one.seal
        if seal is None:
            table.add_row(str(one.day), str(one.runs), "", "", f"[{_BAD}]not sealed[/]", "")
            continue
        signed = f"{seal.sealed_by}, {seal.approved_by}"
        chain = f"{seal.chain[:_CHAIN_SHOWN]}…"
        table.add_row(str(one.day), str(one.runs), str(seal.entries), yuan_of(seal.amount_fen), signed, chain)
    return table


def _ways(report: DaysReport) -> Table:
    table = _table("How the books came", ("way",), ("statements",), ("from",))
    ways = {party: way for one in report.days for party, way in one.ways.items()}
    counts = Counter(way for one in report.days for way in one.ways.values())
    for way, count in sorted(counts.items()):
        names = ", ".join(party for party, own in ways.items() if own is way)
        table.add_row(way.value, str(count), names)
    return table


def _by_class(report: DaysReport) -> list[tuple[str, int, int, int, int]]:
    """(class, done on purpose, found of it, found beside it, open)."""
    compared = report.compared
    wanted = [*(one for one, _ in (*compared.matched, *compared.wrongly)), *compared.missed]
    done = Counter(one.found_as for one in wanted)
    matched = Counter(one.found_as for one, _ in compared.matched)
    beside = Counter(called(one) for one in (*compared.surplus, *compared.by_themselves))
    beside.update(called(known) for _, known in compared.wrongly)
    still_open = Counter(called(one) for one in report.open)
    every = [one for one in BreakClass if done[one] or beside[one]]
    return [(one.value, done[one], matched[one], beside[one], still_open[one]) for one in every]


def _classes(report: DaysReport) -> Table:
    table = _table("Breaks by class", ("class", "meaning"), ("done on purpose", "found", "by themselves", "open"), ())
    for name, *figures in _by_class(report):
        table.add_row(name, CLASS_MEANINGS[BreakClass(name)].en, *map(str, figures))
    return table


def _injected(report: DaysReport) -> Table:
    columns = ("day", "party", "done on purpose", "found as", "what became of it")
    table = _table("What was done, and what became of it", columns, (), ())
    found = [(one, known) for one, known in (*report.compared.matched, *report.compared.wrongly)]
    rows = [(one.item, one.what, known.first_as.value, known.how or "explains itself") for one, known in found]
    rows += [(one.item, one.what, "", EARLY if one.ended else "[red]not ended[/]") for one in report.early]
    for item, *told in sorted(rows, key=lambda row: (row[0].day, row[0].party)):
        table.add_row(str(item.day), item.party, *told)
    return table


def _money(report: DaysReport) -> Table:
    columns = ("advanced", "settled", "deducted", "to be settled")
    table = _table("The days' money by payer, yuan", ("payer",), columns, ())
    for one in report.month.by_payer:
        table.add_row(*one.key, *map(yuan_of, _trio(one)))
    sums = [sum(values) for values in zip(*map(_trio, report.month.by_payer), strict=True)] or [0] * 4
    table.add_row("[bold]together[/]", *(f"[bold]{yuan_of(fen)}[/]" for fen in sums))
    return table


def _trio(one: Standing) -> tuple[int, int, int, int]:
    return one.advanced_fen, one.settled_fen, one.deducted_fen, one.to_be_settled_fen


def _show_month(report: DaysReport, console: Console) -> None:
    month = report.month
    console.print(
        f"\n{month.claims} claims over {yuan_of(month.asked_fen)} yuan, {month.sampled} settlements sampled, "
        f"{month.payments} orders in {month.files} files, {yuan_of(month.confirmed_fen)} yuan confirmed"
    )
    for one in month.deductions:
        console.print(
            f"  deducted: {yuan_of(one.fen)} of {one.settlement_no}, {one.payer}, claim {one.claim_no}: {one.reason}"
        )
    alone = f"; {report.alone} moved no money and needed none" if report.alone else ""
    console.print(f"{report.actions - report.alone} acts of people, each agreed to by a second one{alone}")


def _show_what_is_wrong(report: DaysReport, console: Console) -> None:
    compared = report.compared
    wrong = [f"not found: {one.what} at {one.item.party}, {one.item.settlement_no}" for one in compared.missed]
    wrong += [
        f"called {called(known)}, not {one.found_as}: {one.what} at {one.item.party}, {one.item.settlement_no}"
        for one, known in compared.wrongly
    ]
    wrong += [
        f"found and not done: {called(one)} at {one.item.party} on {one.item.day}, {one.item.institution} "
        f"{one.item.settlement_no} ({one.how or 'open'})"
        for one in compared.surplus
    ]
    wrong += [f"open: {called(one)} at {one.item.party}, {one.item.settlement_no}" for one in report.open]
    wrong += [f"trouble: {one}" for one in report.troubles] + [f"verify: {one}" for one in report.broken]
    for line in wrong[:SHOWN_MAX]:
        console.print(f"[red]{line}[/]", soft_wrap=True)
    if len(wrong) > SHOWN_MAX:
        console.print(f"... and {len(wrong) - SHOWN_MAX} more")


def _show_verdict(report: DaysReport, console: Console) -> None:
    sealed = sum(one.seal is not None for one in report.days)
    compared = report.compared
    console.print(f"{sealed} of {len(report.days)} days sealed, {len(report.open)} breaks open", end="")
    if report.faults:
        console.print(f"; {len(compared.matched)} done on purpose, {len(compared.matched)} of them found", end="")
        console.print(" and nothing else" if compared.exact else ", [red]not exactly these[/]", end="")
        if report.early:
            ended = sum(one.ended for one in report.early)
            console.print(f"; {ended} of {len(report.early)} more ended by the hourly look", end="")
    console.print("; verify finds nothing" if not report.broken else "")
    if report.good:
        console.print(f"[{_GOOD}]every day is closed to the fen, and the month is paid[/]")
    else:
        console.print(f"[{_BAD}]something is off[/]")


def _table(title: str, first: tuple[str, ...], numbers: tuple[str, ...], last: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold not italic", box=None, pad_edge=False)
    for column in first:
        table.add_column(column)
    for column in numbers:
        table.add_column(column, justify="right")
    for column in last:
        table.add_column(column)
    return table
