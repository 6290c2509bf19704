"""`python -m bench.run`: measure all series on this machine and write results.json and RESULTS.md."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import catalogue
from bench.drive import Numbers, Row, quiet_drive, warm_up
from bench.growth import STORED, measure_growth
from bench.machine import describe
from bench.memory import CHUNK_FLOWS, measure_memory
from bench.profile import measure_profile
from bench.report import write_report
from bench.series import Series, StoresCases, running
from bench.servers import Servers, private_servers

HERE = Path(__file__).resolve().parent
PACED_RATE_S = 20.0
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    flows_factor: float
    paced_s: float
    stored: tuple[int, ...]
    memory_cases: int
    memory_chunk: int

    def saturated_flows(self, series: Series) -> int:
        """Requests of one saturated drive."""
        return max(100, round(series.saturated_flows * self.flows_factor))

    @property
    def paced_flows(self) -> int:
        """Requests of one paced drive."""
        return round(self.paced_s * PACED_RATE_S)


FULL = Scale(3, 1.0, 30.0, STORED, 100_000, CHUNK_FLOWS)
HALF = Scale(2, 0.5, 20.0, STORED, 100_000, CHUNK_FLOWS)
QUICK = Scale(1, 0.15, 5.0, (0, 10_000), 4_000, 1_000)


class Run:
    """One run: its servers, its request numbers, and its results so far, saved after every step."""

    def __init__(self, servers: Servers, scratch: Path, scale: Scale, out: Path, results: dict[str, Any]) -> None:
        self.servers, self.scratch, self.scale = servers, scratch, scale
        self.results = results
        self._out = out
        self._numbers = Numbers()

    def rounds(self, all_series: list[Series]) -> None:
        """All series in turn, round after round, so that drift of the machine hits all alike."""
        rows: dict[str, dict[str, Any]] = {
            series.name: {"title": series.title, "saturated": [], "paced": []} for series in all_series
        }
        self.results["series"] = rows
        for number in range(1, self.scale.rounds + 1):
            for series in all_series:
                saturated, paced = self._both(series)
                rows[series.name]["saturated"].append({"round": number, **saturated})
                rows[series.name]["paced"].append({"round": number, **paced})
                self._save()
                announce(number, series, saturated, paced)

    def _both(self, series: Series) -> tuple[Row, Row]:
        with running(series, self.servers, self.scratch):
            warm_up(series, self.servers, self._numbers)
            saturated = quiet_drive(series, self.servers, self._numbers, self.scale.saturated_flows(series))
            paced = quiet_drive(series, self.servers, self._numbers, self.scale.paced_flows, PACED_RATE_S)
        return saturated, paced

    def growth(self, series: Series) -> None:
        """Cost with many stored cases."""
        self.results["growth"] = measure_growth(
            series,
            self.servers,
            self.scratch,
            self._numbers,
            flows=self.scale.saturated_flows(series),
            rounds=self.scale.rounds,
            stored=self.scale.stored,
        )
        self._save()

    def memory(self, series: Series) -> None:
        """Memory over many cases."""
        self.results["memory"] = measure_memory(
            series,
            self.servers,
            self.scratch,
            self._numbers,
            cases=self.scale.memory_cases,
            chunk=self.scale.memory_chunk,
        )
        self._save()

    def profile(self, series: Series) -> None:
        """Top costs of a saturated drive."""
        flows = self.scale.saturated_flows(series)
        self.results["profile"] = measure_profile(series, self.servers, self.scratch, self._numbers, flows=flows)
        self._save()

    def _save(self) -> None:
        text = json.dumps(self.results, indent=1, ensure_ascii=False) + "\n"
        (self._out / "results.json").write_text(text, encoding="utf-8")


def announce(number: int, series: Series, saturated: Row, paced: Row) -> None:
    """One line of progress."""
    noise = "" if saturated["quiet"] and paced["quiet"] else "  (disturbed)"
    faults = {**saturated["faults"], **paced["faults"]}
    console.print(
        f"round {number}  {series.name:12} {saturated['flows_s']:8.1f} flows/s  "
        f"{saturated['system_cpu_ms']:6.2f} CPU ms  paced p50 {paced['p50_ms']:6.1f}  p99 {paced['p99_ms']:6.1f} ms"
        f"{noise}{f'  FAULTS {faults}' if faults else ''}",
        highlight=False,
        soft_wrap=True,
    )


def measure(names: list[str], parts: list[str], scale: Scale, out: Path, command: str) -> None:
    """Start the servers, measure what is asked for, write both files."""
    all_series = catalogue.chosen(names)
    with private_servers() as servers, tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        scratch = Path(folder)
        results: dict[str, Any] = {
            "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "rounds": scale.rounds,
            "paced_rate_s": PACED_RATE_S,
            "machine": describe(servers.database_url, servers.broker.url, scratch),
        }
        run = Run(servers, scratch, scale, out, results)
        run.rounds(all_series)
        extras(run, all_series, parts)
    write_report(results, out)


def extras(run: Run, all_series: list[Series], parts: list[str]) -> None:
    """Growth, memory and profile of the first series that keeps cases."""
    keepers = [series for series in all_series if isinstance(series, StoresCases)]
    actions: dict[str, Callable[[Series], None]] = {"growth": run.growth, "memory": run.memory, "profile": run.profile}
    for part in parts:
        for series in keepers[:1]:
            console.print(f"{part} of {series.name} ...", highlight=False)
            actions[part](series)


def main(
    series: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(catalogue.NAMES),
    parts: Annotated[str, typer.Option(help="Also of the hub: growth, memory, profile.")] = "growth,memory,profile",
    rounds: Annotated[int | None, typer.Option(min=1, help="How often each series runs.")] = None,
    quick: Annotated[bool, typer.Option(help="Small numbers, one round: a proof that it works.")] = False,
    half: Annotated[bool, typer.Option(help="Half the requests, two rounds: a quarter of an hour.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for results.json and RESULTS.md.")] = HERE,
    report_only: Annotated[bool, typer.Option(help="Write RESULTS.md again from results.json.")] = False,
) -> None:
    """Measure the hub beside a bare floor and beside other frameworks, in one go on this machine."""
    out.mkdir(parents=True, exist_ok=True)
    if report_only:
        write_report(json.loads((out / "results.json").read_text(encoding="utf-8")), out)
        return
    scale = QUICK if quick else HALF if half else FULL
    if rounds:
        scale = replace(scale, rounds=rounds)
    size = " --quick" if quick else " --half" if half else ""
    command = f"python -m bench.run --series {series} --parts {parts} --rounds {scale.rounds}{size}"
    measure(split(series), split(parts), scale, out, command)
    console.print(f"written: {out / 'results.json'}, {out / 'RESULTS.md'}", highlight=False)


def split(names: str) -> list[str]:
    """`a,b` as a list; empty text gives none."""
    return [name.strip() for name in names.split(",") if name.strip()]


if __name__ == "__main__":
    # Ended from outside, the processes of a series must end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    typer.run(main)
