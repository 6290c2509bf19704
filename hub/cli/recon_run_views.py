"""Runs and breaks for people. Shown are numbers, codes, moments and amounts, nobody's personal data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.cli.recon_runs import moment
from hub.recon.runs import RunResult
from schemas.counting import how_many
from schemas.money import yuan_of
from schemas.statement import CLASS_MEANINGS, BreakClass
from store.matching_runs import Break, Run

SIDES = (("hub", "hub"), ("payer", "payer"), ("hospital", "hospital"))


def show_results(results: Sequence[RunResult], refused: Mapping[str, str], shown: Console) -> None:
    """One line per run."""
    table = _table("run", "party/scheme", "matched", "explained", "resolved", "open", "what")
    for one in results:
        explained = sum(one.counts.values()) - one.counts.get("matched", 0) - one.open - one.resolved
        named = [f"{name} {count}" for name, count in one.counts.items() if name != "matched" and count]
        told = [*([one.finding] if one.finding else []), *named]
        if not told:
            told = ["agrees"]
        table.add_row(
            str(one.run_id),
            f"{one.party}/{one.scheme}",
            f"{one.counts.get('matched', 0):,}",
            f"{explained:,}",
            f"{one.resolved:,}",
            f"{one.open:,}",
            ", ".join([*told, *([one.note] if one.note else [])]),
        )
    if results:
        shown.print(table)
    for name, why in refused.items():
        shown.print(f"{name} was not run: {why}", markup=False)
    if not results and not refused:
        shown.print("nobody has business on this day")


def show_run(run: Run, shown: Console) -> None:
    """Totals by side first, then items by class, then how it was compared."""
    shown.print(f"run {run.run_id}: {run.party}/{run.scheme} {run.day}, {run.state}", markup=False)
    read = f"ledger up to entry {run.ledger_to}, statements {_listed(run.statement_ids)}"
    made = f"made by {run.started_by} {moment(run.started_at)}, rule book {run.rulebook_version}"
    shown.print(f"{made}, {read}", markup=False)
    if run.failure:
        shown.print(f"it came to nothing: {run.failure}", markup=False)
    if run.signed_by:
        shown.print(f"signed off by {run.signed_by} and {run.approved_by} {moment(run.signed_at)}", markup=False)
    if run.totals:
        shown.print(_totals(run.totals))
        if run.totals.get("finding"):
            shown.print(str(run.totals["finding"]), markup=False)
        if run.totals.get("note"):
            shown.print(str(run.totals["note"]), markup=False)
    shown.print(_counts(run.counts))
    switches = [f"{name} {_switch(value)}" for name, value in run.switches.items() if name not in ("party", "code")]
    shown.print(f"switches: {', '.join(switches)}", markup=False)


def _totals(totals: Mapping[str, Any]) -> Table:
    table = _table("side", "settlements", "refunds", "settled", "refunded", "account", "comes to")
    for name, side in SIDES:
        found = totals.get(side)
        if found is None:
            table.add_row(name, "not compared", "", "", "", "", "")
            continue
        figures = ("settled_fen", "refunded_fen", "account_fen")
        net = found["settled_fen"] + found["refunded_fen"]
        counts = (f"{found['settlements']:,}", f"{found['refunds']:,}")
        table.add_row(name, *counts, *(yuan_of(found[one]) for one in figures), yuan_of(net))
    return table


def _counts(counts: Mapping[str, int]) -> Table:
    table = _table("class", "items", "meaning")
    for name, count in sorted(counts.items(), key=lambda one: (one[0] != "matched", one[0])):
        table.add_row(name, f"{count:,}", _meaning(name))
    return table


_OTHER_MEANINGS = {
    "matched": "all sides agree",
    "no_statement": "the party has not told its book",
}


def _meaning(name: str) -> str:
    if name in _OTHER_MEANINGS:
        return _OTHER_MEANINGS[name]
    meaning = CLASS_MEANINGS[BreakClass(name)]
    return f"{meaning.zh} {meaning.en}"


def show_breaks(found: Sequence[Break], limit: int, shown: Console) -> None:
    """One line per break; a side is what it has, or nothing where it is not compared."""
    table = _table("break", "class", "settlement", "payer", "hub", "payer's", "hospital", "difference", "state", "next")
    for one in found:
        table.add_row(
            str(one.break_id),
            one.break_class,
            f"{one.institution}/{one.settlement_no or one.reference or one.request_id}",
            one.payer,
            _side(one.hub),
            _side(one.payer_side),
            _side(one.hospital),
            yuan_of(one.difference_fen),
            one.state,
            one.proposal,
        )
    if found:
        shown.print(table)
    more = f"; more with --limit above {limit}" if len(found) == limit else ""
    shown.print(f"{how_many(len(found), 'break')}{more}")


def _side(figures: Sequence[int] | None) -> str:
    if figures is None:
        return ""
    settlements, refunds, settled_fen, refunded_fen, account_fen = figures
    parts = [yuan_of(fen) + ("" if count == 1 else f" in {count}")
             for count, fen in ((settlements, settled_fen), (refunds, refunded_fen)) if count]  # fmt: skip
    if account_fen:
        parts.append(f"(account {yuan_of(account_fen)})")
    return " ".join(parts) or "-"


def _switch(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, sorted(value)))
    return "any" if value is None else str(value)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (" ..." if len(numbers) > 20 else "") if numbers else "none"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    amounts = {"settlements", "refunds", "settled", "refunded", "account", "comes to", "items", "matched", "explained",
               "resolved", "open", "difference"}  # fmt: skip
    for name in columns:
        table.add_column(name, justify="right" if name in amounts else "left", overflow="fold")
    return table
