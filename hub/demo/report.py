"""What a demo found out, as plain data and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.demo.day import Tally
from hub.demo.ledger import Borne, CaseTime
from hub.timeline import TimelineEvent
from sandbox.proof import ACCOUNT, Difference
from schemas.money import yuan_of

SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds at the 50th, 95th and 99th of a hundred."""

    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Latency:
        """By nearest rank; zeros when there is nothing."""
        ranked = sorted(seconds) or [0.0]
        at = [ranked[min(len(ranked) - 1, max(0, -(-len(ranked) * share // 100) - 1))] for share in (50, 95, 99)]
        return Latency(*(round(value * 1000, 1) for value in at))


@dataclass(frozen=True, slots=True)
class Proof:
    """The three records side by side."""

    settlements: int
    sides: dict[str, Borne]
    differences: list[Difference]
    wrong_sums: list[str]
    troubles: list[str]
    dead_letters: int
    settled_down: bool

    @property
    def agree(self) -> bool:
        """Whether every fen is the same on all three sides and nothing went other than it should."""
        odd = self.differences or self.wrong_sums or self.troubles or self.dead_letters
        return self.settled_down and not odd

    def totals(self) -> dict[str, dict[str, int]]:
        """Whole fen by payer and side."""
        found: dict[str, Counter[str]] = {}
        for side, borne in self.sides.items():
            for (payer, _, _), amount in borne.items():
                found.setdefault(payer, Counter())[side] += amount
        ordered = sorted(found, key=lambda payer: (payer == ACCOUNT, payer))
        return {payer: {side: found[payer][side] for side in self.sides} for payer in ordered}


@dataclass(frozen=True, slots=True)
class Slowest:
    """The case whose first answer took longest."""

    case_id: str
    events: tuple[TimelineEvent, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything."""

    tally: Tally
    times: list[CaseTime]
    took_s: float
    slowest: Slowest | None
    proof: Proof
    folder: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: money as yuan text, times in milliseconds."""
        return {
            "cases": self.tally.cases,
            "took_s": round(self.took_s, 2),
            "repeats": self.tally.repeats,
            "cancels": self.tally.cancels,
            "money": {name: yuan_of(fen) for name, fen in self._money().items()},
            "payers": {
                payer: {"asked": seen["asked"], "approved": seen["approved"], "amount": yuan_of(seen["fen"])}
                for payer, seen in sorted(self.tally.payers.items())
            },
            "visit_kinds": {
                kind: {"cases": seen["cases"], "total": yuan_of(seen["total_fen"]), "cash": yuan_of(seen["cash_fen"])}
                for kind, seen in sorted(self.tally.kinds.items())
            },
            "not_approved": [
                {"payer": payer, "state": state, "code": code, "reason": reason, "cases": count}
                for (payer, state, code, reason), count in self.tally.reasons.most_common()
            ],
            "latency_ms": {name: vars_of(latency) for name, latency in self.latencies().items()},
            "slowest": self.slowest and {
                "case_id": self.slowest.case_id,
                "timeline": [event.as_dict() for event in self.slowest.events],
            },
            "proof": proof_as_dict(self.proof),
            "folder": self.folder or None,
        }  # fmt: skip

    def latencies(self) -> dict[str, Latency]:
        """By what was measured."""
        return {
            "hospital_waits": Latency.of(self.tally.latencies_s),
            "hub_request_to_answer": Latency.of([time.whole_s for time in self.times]),
            "with_payers": Latency.of([time.away_s for time in self.times]),
            "hub_own": Latency.of([time.own_s for time in self.times]),
        }

    def _money(self) -> dict[str, int]:
        tally = self.tally
        shares = sum(seen["fen"] for seen in tally.payers.values())
        return {
            "total": tally.total_fen,
            "payers": shares,
            "account": tally.account_fen,
            "hospital_borne": tally.hospital_fen,
            "cash": tally.cash_fen,
            "deferred": tally.deferred_fen,
        }


def vars_of(latency: Latency) -> dict[str, float]:
    """The three figures by name."""
    return {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99}


def proof_as_dict(proof: Proof) -> dict[str, Any]:
    """For JSON."""
    return {
        "agree": proof.agree,
        "settlements": proof.settlements,
        "totals": {
            payer: {side: yuan_of(fen) for side, fen in said.items()} for payer, said in proof.totals().items()
        },
        "differences": [
            {"payer": one.payer, "institution": one.institution, "settlement_no": one.settlement_no,
             "said": {side: yuan_of(fen) for side, fen in one.said}}
            for one in proof.differences
        ],
        "wrong_sums": proof.wrong_sums,
        "troubles": proof.troubles,
        "dead_letters": proof.dead_letters,
        "settled_down": proof.settled_down,
    }  # fmt: skip


def show(report: DemoReport, console: Console) -> None:
    """The tables in the order in which one asks: who paid, for what, why not, how fast, and is it true."""
    tally = report.tally
    statuses = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in tally.statuses.most_common())
    console.print(
        f"\n[bold]{tally.cases} settlements[/] in {report.took_s:.1f} s ({tally.cases / max(report.took_s, 0.001):.0f} "
        f"a second): {statuses}; {tally.repeats} repeated, {tally.cancels} cancelled afterwards"
    )
    tables = [_payers(tally), _kinds(tally), *([_reasons(tally)] if tally.reasons else []), _latencies(report)]
    if report.slowest is not None:
        tables.append(timeline_table(report.slowest.events, f"The slowest case, {report.slowest.case_id}"))
    for table in tables:
        console.print()
        console.print(table)
    show_proof(report.proof, console)


def show_proof(proof: Proof, console: Console) -> None:
    """The three records side by side, and each difference."""
    table = _table("Three records of who bears what, yuan", "payer", *proof.sides)
    for payer, said in proof.totals().items():
        table.add_row(payer, *(yuan_of(said[side]) for side in proof.sides))
    console.print()
    console.print(table)
    for one in proof.differences[:SHOWN_MAX]:
        said_by = ", ".join(f"{side} {yuan_of(fen)}" for side, fen in one.said)
        console.print(f"[red]difference[/]: {one.payer}, {one.institution} {one.settlement_no}: {said_by}")
    if len(proof.differences) > SHOWN_MAX:
        console.print(f"... and {len(proof.differences) - SHOWN_MAX} more differences")
    for number in proof.wrong_sums[:SHOWN_MAX]:
        console.print(f"[red]does not add up[/]: {number}")
    for trouble in proof.troubles[:SHOWN_MAX]:
        console.print(f"[red]trouble[/]: {trouble}")
    if proof.dead_letters:
        console.print(f"[red]dead letters[/]: {proof.dead_letters}")
    if not proof.settled_down:
        console.print("[red]still open[/]: some cases have no final answer")
    console.print(f"{proof.settlements} settlements compared to the fen, {len(proof.differences)} differences")
    console.print("[bold green]books agree[/]" if proof.agree else "[bold red]books differ[/]")


def timeline_table(events: Sequence[TimelineEvent], title: str) -> Table:
    """The events with their distance from the first."""
    table = _titled(title)
    table.add_column("ms", justify="right")
    for column in ("party", "leg", "what"):
        table.add_column(column)
    table.add_column("took ms", justify="right")
    for event in events:
        since_ms = (event.at - events[0].at).total_seconds() * 1000
        took = "" if event.took_ms is None else str(event.took_ms)
        table.add_row(f"{since_ms:.0f}", event.party, str(event.leg_no or ""), event.text.en, took)
    return table


def _payers(tally: Tally) -> Table:
    table = _table("By payer", "payer", "asked", "approved", "yuan")
    for payer, seen in sorted(tally.payers.items(), key=lambda item: -item[1]["fen"]):
        table.add_row(payer, str(seen["asked"]), str(seen["approved"]), yuan_of(seen["fen"]))
    table.add_row(ACCOUNT, "", "", yuan_of(tally.account_fen))
    table.add_row("hospital", "", "", yuan_of(tally.hospital_fen))
    table.add_row("patient, cash", "", "", yuan_of(tally.cash_fen))
    table.add_row("[bold]bills[/]", "", "", f"[bold]{yuan_of(tally.total_fen)}[/]")
    return table


def _kinds(tally: Tally) -> Table:
    table = _table("By kind of visit", "kind", "cases", "bills, yuan", "cash, yuan", "patient pays")
    for kind, seen in sorted(tally.kinds.items()):
        share = f"{100 * seen['cash_fen'] / max(seen['total_fen'], 1):.1f} %"
        table.add_row(kind, str(seen["cases"]), yuan_of(seen["total_fen"]), yuan_of(seen["cash_fen"]), share)
    return table


def _reasons(tally: Tally) -> Table:
    table = _titled("Not approved, and why")
    table.add_column("cases", justify="right")
    for column in ("payer", "state", "reason"):
        table.add_column(column)
    for (payer, state, code, reason), count in tally.reasons.most_common(SHOWN_MAX):
        table.add_row(str(count), payer, state, reason or code)
    return table


def _latencies(report: DemoReport) -> Table:
    names = {
        "hospital_waits": "hospital: request to answer",
        "hub_request_to_answer": "hub: request in to answer stored",
        "with_payers": "  of it from asking payers to their answer",
        "hub_own": "  of it the hub's own time",
    }
    table = _table("Latency under this load, milliseconds", "", "p50", "p95", "p99")
    for name, latency in report.latencies().items():
        table.add_row(names[name], f"{latency.p50:.0f}", f"{latency.p95:.0f}", f"{latency.p99:.0f}")
    return table


def _titled(title: str) -> Table:
    """A table whose title may be wider than its columns."""
    return Table(title=title, title_justify="left", title_style="bold not italic", box=None, pad_edge=False)


def _table(title: str, first: str, *others: str) -> Table:
    table = _titled(title)
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right")
    return table
