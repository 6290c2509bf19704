"""`hub simulate`: the real handlers on virtual time, with faults that a seed decides."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import fail

if TYPE_CHECKING:
    from simulation.shrink import Minimal
    from simulation.soak import Tally

TRACE_MAX = 400


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds to run.")] = 1_000,
    first: Annotated[int, typer.Option("--first", min=0, help="The first of them.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Run this one only.")] = None,
    cases: Annotated[int, typer.Option("--cases-per-seed", min=1, max=100, help="Bills in each run.")] = 5,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Processes to run them in.")] = 1,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a seed that fails.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show everything that happened (with --seed).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The sums as JSON.")] = False,
) -> None:
    """Simulate the hub on virtual time: crashes, lost and doubled messages, lying payers, jumping clocks.

    One seed gives exactly one run. At the end of each the payers' own books say whether anything was lost, doubled or
    booked with a wrong amount. A seed that fails is printed and shrunk to the smallest run that fails alike.

    Example: `hub simulate --seeds 100000 --jobs 2 --keep-going`, then `hub simulate --seed 4711 --trace`.
    """
    if seed is not None and trace:
        _show_trace(seed, cases)
        return
    begun = time.perf_counter()
    try:
        from simulation.soak import run_all
    except ModuleNotFoundError as error:
        fail(f"the simulator needs the package {error.name}: pip install 'settlement-hub[simulation]'", 2)
    chosen = range(first, first + seeds) if seed is None else range(seed, seed + 1)
    tally = run_all(chosen, cases=cases, jobs=jobs, stop_at_failure=not keep_going)
    took_s = time.perf_counter() - begun
    if as_json:
        typer.echo(json.dumps(_facts(tally, took_s), ensure_ascii=False))
    else:
        _show_tally(tally, took_s)
    if not tally.failed:
        return
    if as_json:
        raise typer.Exit(1)
    from simulation.shrink import shrink

    for number, failure in sorted(tally.failed)[:20]:
        typer.echo(f"seed {number} failed: {failure}")
    _show_minimal(shrink(min(tally.failed)[0], cases=cases), cases)
    raise typer.Exit(1)


def _show_trace(seed: int, cases: int) -> None:
    from simulation.run import run_seed

    report = run_seed(seed, cases=cases, trace=True)
    typer.echo("\n".join(report.trace))
    for failure in report.failures:
        typer.echo(f"FAILED {failure}")
    if report.failed:
        raise typer.Exit(1)
    typer.echo(f"seed {seed} passed: {report.cases} cases, {sum(report.faults.values())} faults")


def _facts(tally: Tally, took_s: float) -> dict[str, Any]:
    from simulation.soak import DOUBLED, LOST, WRONG_FEN

    return {
        "seeds": tally.seeds,
        "cases": tally.cases,
        "answers": tally.answers,
        "lost": tally.of(LOST),
        "doubled": tally.of(DOUBLED),
        "wrong_fen": tally.of(WRONG_FEN),
        "faults": {fault.value: number for fault, number in tally.faults.items()},
        "with_people": dict(tally.doubts),
        "broken_promises": dict(tally.failures),
        "failed_seeds": dict(tally.failed),
        "longest_until_rest_s": round(tally.resolved_s, 3),
        "seeds_per_s": round(tally.seeds / max(took_s, 0.001), 1),
    }


def _show_tally(tally: Tally, took_s: float) -> None:
    from simulation.soak import DOUBLED, LOST, WRONG_FEN

    faults = sum(tally.faults.values())
    typer.echo(
        f"{tally.seeds} seeds, {tally.cases} cases, {faults} faults, {tally.answers} answers "
        f"({tally.seeds / max(took_s, 0.001):.0f} seeds/s)"
    )
    typer.echo(
        f"lost {tally.of(LOST)}, doubled {tally.of(DOUBLED)}, wrong fen {tally.of(WRONG_FEN)}, "
        f"failed seeds {len(tally.failed)}"
    )
    _show_counts("faults", {fault.value: number for fault, number in tally.faults.items()})
    _show_counts("with people at the end", tally.doubts)
    _show_counts("broken promises", tally.failures)
    typer.echo(f"longest until a case came to rest: {tally.resolved_s:.0f} s virtual (seed {tally.slowest})")


def _show_counts(title: str, counts: dict[str, int]) -> None:
    if counts:
        typer.echo(f"{title}:")
        for name, number in sorted(counts.items(), key=lambda item: -item[1]):
            typer.echo(f"  {number:>8}  {name}")


def _show_minimal(minimal: Minimal, cases: int) -> None:
    report = minimal.report
    only = ", ".join(map(str, minimal.cases))
    typer.echo(f"\nseed {report.seed} shrunk in {minimal.runs} runs to bill {only} and {len(report.injected)} faults:")
    for identity in report.injected:
        typer.echo(f"  {identity}")
    typer.echo("\n".join(report.trace[:TRACE_MAX]))
    typer.echo(f"\nrepeat it whole with: hub simulate --seed {report.seed} --cases-per-seed {cases} --trace")
