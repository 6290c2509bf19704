"""The aims, and whether a run met them. Ratios are taken within each round, so that both sides saw the same machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.memory import GROWTH_MAX

Results = dict[str, Any]
Rows = Sequence[dict[str, Any]]

FLOOR_SHARE_MIN = 0.5
BEST_PEER_MULTIPLE_MIN = 2.5
CPU_MS_PER_CASE_MAX = 8.0
OWN_P99_MS_MAX = 30.0
GROWTH_SHARE_MAX = 0.10
PEERS = ("celery", "faststream")


@dataclass(frozen=True, slots=True)
class Finding:
    """One aim; `met` is None when this run did not measure it."""

    aim: str
    measured: str
    met: bool | None


NOT_MEASURED = "not measured in this run"


def findings(results: Results) -> list[Finding]:
    """Every aim in a fixed order."""
    return [
        _aim("every request gets exactly one reply and is settled", _no_faults, results),
        _aim(f"hub_stub at least {FLOOR_SHARE_MIN} × floor, saturated", _floor_share, results),
        _aim(f"hub_stub at least {BEST_PEER_MULTIPLE_MIN} × the best peer, saturated", _peer_multiple, results),
        _aim("hub_stub p99 paced no slower than any peer", _paced_p99, results),
        _aim(f"hub_full at most {CPU_MS_PER_CASE_MAX:g} CPU ms per case, saturated", _cpu_per_case, results),
        _aim(f"hub_full own time p99 below {OWN_P99_MS_MAX:g} ms, paced", _own_p99, results),
        _aim("cost per case flat (±10 %) with stored cases", _growth, results),
        _aim("memory of each role bounded", _memory, results),
    ]


def _aim(text: str, judge: Callable[[Results], tuple[str, bool] | None], results: Results) -> Finding:
    verdict = judge(results)
    return Finding(text, *verdict) if verdict else Finding(text, NOT_MEASURED, None)


def rows_of(results: Results, name: str, mode: str) -> Rows:
    """The drives of a series that count: those of a quiet machine, or all of them where none was quiet."""
    rows = all_rows_of(results, name, mode)
    return [row for row in rows if row["quiet"]] or rows


def all_rows_of(results: Results, name: str, mode: str) -> Rows:
    """All drives of a series, disturbed ones too."""
    rows: Rows = results.get("series", {}).get(name, {}).get(mode, [])
    return rows


def median_of(rows: Rows, key: str) -> float | None:
    """Median of a figure; None without rows that have it."""
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else None


def ratios(results: Results, above: str, below: str) -> list[float]:
    """Saturated speed of one series over another's in each round, undisturbed rounds only where there are any."""
    pairs = [
        (one, other)
        for one in all_rows_of(results, above, "saturated")
        for other in all_rows_of(results, below, "saturated")
        if one["round"] == other["round"]
    ]
    quiet = [(one, other) for one, other in pairs if one["quiet"] and other["quiet"]]
    return [one["flows_s"] / other["flows_s"] for one, other in quiet or pairs]


def _no_faults(results: Results) -> tuple[str, bool]:
    rows = [row for series in results["series"].values() for mode in ("saturated", "paced") for row in series[mode]]
    faulty = sum(1 for row in rows if row["faults"])
    return f"{sum(row['flows'] for row in rows):,} requests, {faulty} drive(s) with faults", not faulty


def _floor_share(results: Results) -> tuple[str, bool] | None:
    found = ratios(results, "hub_stub", "floor")
    return _ratio_verdict(found, FLOOR_SHARE_MIN) if found else None


def _peer_multiple(results: Results) -> tuple[str, bool] | None:
    speeds = {name: median_of(rows_of(results, name, "saturated"), "flows_s") or 0.0 for name in PEERS}
    best = max(speeds, key=lambda name: speeds[name])
    found = ratios(results, "hub_stub", best)
    if not found or not all(speeds.values()):
        return None
    text, met = _ratio_verdict(found, BEST_PEER_MULTIPLE_MIN)
    return f"{text} (best: {best})", met


def _ratio_verdict(found: Sequence[float], at_least: float) -> tuple[str, bool]:
    middle = statistics.median(found)
    return f"{middle:.2f} ({min(found):.2f}–{max(found):.2f})", middle >= at_least


def _paced_p99(results: Results) -> tuple[str, bool] | None:
    hub = median_of(rows_of(results, "hub_stub", "paced"), "p99_ms")
    peers = [p99 for name in PEERS if (p99 := median_of(rows_of(results, name, "paced"), "p99_ms")) is not None]
    if hub is None or len(peers) < len(PEERS):
        return None
    return f"{hub:.1f} ms, best peer {min(peers):.1f} ms", hub <= min(peers)


def _cpu_per_case(results: Results) -> tuple[str, bool] | None:
    cpu_ms = median_of(rows_of(results, "hub_full", "saturated"), "system_cpu_ms")
    return None if cpu_ms is None else (f"{cpu_ms:.2f} ms", cpu_ms <= CPU_MS_PER_CASE_MAX)


def _own_p99(results: Results) -> tuple[str, bool] | None:
    p99 = median_of(rows_of(results, "hub_full", "paced"), "own_p99_ms")
    return None if p99 is None else (f"{p99:.1f} ms", p99 < OWN_P99_MS_MAX)


def _growth(results: Results) -> tuple[str, bool] | None:
    if "growth" not in results:
        return None
    points = results["growth"]["points"]
    first, *later = [median_of(point["rows"], "system_cpu_ms") or 0.0 for point in points]
    shares = [cost / first - 1 for cost in later]
    text = ", ".join(f"{share:+.1%} at {point['stored']:,}" for share, point in zip(shares, points[1:], strict=True))
    return text, max(abs(share) for share in shares) <= GROWTH_SHARE_MAX


def _memory(results: Results) -> tuple[str, bool] | None:
    if "memory" not in results:
        return None
    growth = results["memory"]["growth"]
    worst = max(growth, key=lambda role: growth[role])
    return f"late over early, worst role {worst}: × {growth[worst]:.2f}", growth[worst] <= GROWTH_MAX
