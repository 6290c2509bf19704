"""What a mixed day found out, as plain data and as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from hub.demo.mixed import MixedReport, PartySeen
from hub.demo.report import proof_as_dict, show_proof
from schemas.money import yuan_of

_APPROVED, _DECLINED = "approved", "declined"


def mixed_as_dict(report: MixedReport) -> dict[str, Any]:
    """For JSON: money as yuan text."""
    return {
        "day": report.day,
        "cases": report.tally.cases,
        "took_s": round(report.took_s, 2),
        "repeats": report.tally.repeats,
        "undone": report.tally.cancels,
        "ways": [
            {"region": region, "way": way, "cases": count} for (region, way), count in sorted(report.ways.items())
        ],
        "messages": dict(sorted(report.said.items())),
        "parties": [_party_as_dict(one) for one in report.parties],
        "proof": proof_as_dict(report.proof),
        "broken_invariants": report.broken,
        "good": report.good,
    }


def _party_as_dict(one: PartySeen) -> dict[str, Any]:
    return {
        "party": one.party,
        "dialect": one.dialect,
        "legs": dict(sorted(one.states.items())),
        "amount": yuan_of(one.fen),
        "doubts": one.doubts,
        "doubts_open": one.doubts_open,
        "told": dict(sorted(one.told.items())),
    }


def show_mixed(report: MixedReport, console: Console) -> None:
    """By party and dialect, by way in, and whether it is true."""
    tally = report.tally
    console.print(
        f"\n[bold]{tally.cases} settlements[/] in {report.took_s:.1f} s; {tally.repeats} repeated, "
        f"{tally.cancels} undone afterwards"
    )
    for table in (_parties(report), _ways(report), _messages(report)):
        console.print()
        console.print(table)
    for code, count in report.broken.items():
        console.print(f"[red]invariant {code} does not hold[/]: {count} rows")
    show_proof(report.proof, console)


def _parties(report: MixedReport) -> Table:
    table = _table("By party and dialect", "party", "dialect")
    for column in ("parts", "approved", "refused", "undone", "other", "yuan", "asked again", "open", "told"):
        table.add_column(column, justify="right")
    for one in report.parties:
        states = one.states
        known = [states[name] for name in (_APPROVED, _DECLINED, "cancelled")]
        others = states.total() - sum(known)
        figures = (states.total(), *known, others, yuan_of(one.fen), one.doubts, one.doubts_open, one.told["taken"])
        table.add_row(one.party, one.dialect, *map(str, figures))
    return table


def _ways(report: MixedReport) -> Table:
    table = _table("By region and way in", "region", "way")
    table.add_column("settlements", justify="right")
    for (region, way), count in sorted(report.ways.items()):
        table.add_row(region, way, str(count))
    return table


def _messages(report: MixedReport) -> Table:
    table = _table("Messages that were answered", "transaction")
    table.add_column("count", justify="right")
    for transaction, count in sorted(report.said.items()):
        table.add_row(transaction, str(count))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold not italic", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
