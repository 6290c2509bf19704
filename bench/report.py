"""RESULTS.md: what a run found, for people. Notes written by hand (NOTES.md) are taken in as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.aims import Results, all_rows_of, findings, median_of, ratios, rows_of
from bench.measure import spread

NOTES = Path(__file__).with_name("NOTES.md")
VERDICTS = {True: "met", False: "**missed**", None: "–"}
METHOD = """\
Every series does the same flow: a request of about 2 KB is published to a RabbitMQ quorum queue, three hops handle
it with a commit in PostgreSQL each, and the reply is consumed. One private broker and one private database (fsync
on) serve all series, one after the other, in rounds (A B C, A B C, …) so that drift of the machine hits all alike.
The driver is one process with one connection. *Saturated*: at most 256 publishes unconfirmed, until all replies
are in. *Paced*: a steady rate; latency is reply received less request published. Each request must get exactly one
reply and be found settled in the series' own database afterwards. CPU is read from /proc for all processes of the
system under test, the broker and the database; driver and sandbox parties are left out. A drive during which other
processes used more than 0.35 cores counts only where no quieter one exists."""


def write_report(results: Results, out: Path) -> None:
    """Write RESULTS.md beside results.json."""
    (out / "RESULTS.md").write_text(render(results), encoding="utf-8")


def render(results: Results) -> str:
    """The whole page."""
    sections = [
        "# Measurements",
        f"Written by `{results['command']}` on {results['taken_at']}; {results['rounds']} round(s).",
        *_section("Aims", aims_table(results)),
        *_section("Figures: median (min–max) of the rounds", figures_table(results)),
        *_section("Speed of one over another, round by round", ratio_table(results)),
        *_section("CPU milliseconds per flow, saturated", cpu_table(results)),
        *_section("Faults and disturbed drives", trouble_list(results)),
        *_section("Cost with stored cases", growth_table(results)),
        *_section("Memory of each role, MiB", memory_table(results)),
        *_section("Profile of the saturated run", profile_text(results)),
        *_section("Notes", NOTES.read_text(encoding="utf-8").strip() if NOTES.exists() else ""),
        *_section("How it is measured", METHOD),
        *_section("Machine and versions", machine_table(results["machine"])),
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, body: str) -> list[str]:
    return [f"## {title}", body] if body else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty text without rows."""
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *lines]) if lines else ""


def aims_table(results: Results) -> str:
    """Aim, what was measured, met or missed."""
    rows = [(finding.aim, finding.measured, VERDICTS[finding.met]) for finding in findings(results)]
    return table(("aim", "measured", ""), rows)


def figures_table(results: Results) -> str:
    """One line per series."""
    head = (
        "series",
        "what",
        "flows/s",
        "CPU ms per flow",
        "paced p50 ms",
        "p95",
        "p99",
        "own p99",
        "CPU ms paced",
        "counted",
    )
    return table(head, (_figures(results, name) for name in results["series"]))


def _figures(results: Results, name: str) -> list[str]:
    saturated, paced = rows_of(results, name, "saturated"), rows_of(results, name, "paced")
    return [
        f"`{name}`",
        results["series"][name]["title"],
        _spread(saturated, "flows_s", ",.0f"),
        _spread(saturated, "system_cpu_ms", ".2f"),
        _spread(paced, "p50_ms", ".1f"),
        _spread(paced, "p95_ms", ".1f"),
        _spread(paced, "p99_ms", ".1f"),
        _spread(paced, "own_p99_ms", ".1f"),
        _spread(paced, "system_cpu_ms", ".2f"),
        ", ".join(_counted(results, name, mode) for mode in ("saturated", "paced")),
    ]


def _counted(results: Results, name: str, mode: str) -> str:
    return f"{len(rows_of(results, name, mode))} of {len(all_rows_of(results, name, mode))}"


def _spread(rows: Sequence[dict[str, Any]], key: str, form: str) -> str:
    values = [row[key] for row in rows if key in row]
    if not values:
        return "–"
    found = spread(values)
    return f"{found['median']:{form}} ({found['min']:{form}}–{found['max']:{form}})"


def ratio_table(results: Results) -> str:
    """How many times as fast each series is as each other one."""
    names = list(results["series"])
    return table(("", *names), ([f"`{above}`", *(_ratio(results, above, below) for below in names)] for above in names))


def _ratio(results: Results, above: str, below: str) -> str:
    found = ratios(results, above, below)
    return f"{spread(found)['median']:.2f}" if found and above != below else ""


def cpu_table(results: Results) -> str:
    """Who spends it, by group and by role."""
    groups = ("hub", "broker", "database", "parties", "driver")
    rows = [_cpu_line(results, name, groups) for name in results["series"]]
    return table(("series", "itself", *groups[1:], "by role"), rows)


def _cpu_line(results: Results, name: str, groups: Sequence[str]) -> list[str]:
    rows = rows_of(results, name, "saturated")
    means = [median_of([row["cpu_ms"] for row in rows], group) or 0.0 for group in groups]
    roles = [row["role_cpu_ms"] for row in rows]
    by_role = ", ".join(f"{role} {median_of(roles, role):.2f}" for role in (roles[0] if roles else ()))
    return [f"`{name}`", *(f"{ms:.2f}" for ms in means), by_role]


def trouble_list(results: Results) -> str:
    """Every drive that was not clean and quiet."""
    lines = [
        f"- `{name}` {mode}, round {row['round']}: {_trouble(row)}"
        for name, series in results["series"].items()
        for mode in ("saturated", "paced")
        for row in series[mode]
        if row["faults"] or not row["quiet"]
    ]
    return "\n".join(lines) or "None: every request got one reply, and the machine was quiet throughout."


def _trouble(row: dict[str, Any]) -> str:
    parts = [f"{count} {fault}" for fault, count in row["faults"].items()]
    if not row["quiet"]:
        parts.append(f"other processes used {row['other_cores']:.2f} cores")
    return ", ".join(parts)


def growth_table(results: Results) -> str:
    """Cost and speed by number of stored cases."""
    if "growth" not in results:
        return ""
    growth = results["growth"]
    points = [*growth["points"], growth["again"]]
    labels = [*(f"{point['stored']:,}" for point in growth["points"]), f"{growth['again']['stored']:,}, new start"]
    rows = [
        (
            label,
            _spread(point["rows"], "system_cpu_ms", ".2f"),
            _spread([row["cpu_ms"] for row in point["rows"]], "database", ".2f"),
            _spread(point["rows"], "flows_s", ",.0f"),
        )
        for label, point in zip(labels, points, strict=True)
    ]
    head = ("stored cases", "CPU ms per case", "of it database", "flows/s")
    return f"Series `{growth['series']}`, saturated.\n\n{table(head, rows)}"


def memory_table(results: Results) -> str:
    """Samples along the way, and late over early."""
    if "memory" not in results:
        return ""
    memory = results["memory"]
    samples = memory["samples"]
    shown = samples[:: max(1, len(samples) // 8)]
    roles = list(samples[0]["mib"])
    rows = [[f"{sample['cases']:,}", *(f"{sample['mib'][role]:.0f}" for role in roles)] for sample in shown]
    rows.append(["late / early", *(f"× {memory['growth'][role]:.2f}" for role in roles)])
    return f"Series `{memory['series']}`, one start.\n\n{table(('cases', *roles), rows)}"


def profile_text(results: Results) -> str:
    """Top functions of each role and the dearest statements."""
    if "profile" not in results:
        return ""
    profile = results["profile"]
    parts = [f"Series `{profile['series']}` under a sampler; shares in percent of the samples of each role."]
    for role, costs in profile["roles"].items():
        parts.append(f"### {role} ({costs['samples']:,} samples)")
        parts.append(table(("share", "function that ran"), _shares(costs["own"])))
        parts.append(table(("share", "our function with all that it calls"), _shares(costs["inclusive"])))
    parts.append("### Database")
    parts.append(
        table(
            ("share", "ms", "calls", "rows", "statement"),
            (
                (str(row["share"]), str(row["total_ms"]), str(row["calls"]), str(row["rows"]), f"`{row['statement']}`")
                for row in profile["statements"]
            ),
        )
    )
    return "\n\n".join(part for part in parts if part)


def _shares(costs: Sequence[Sequence[Any]]) -> list[tuple[str, str]]:
    return [(f"{share:.1f}", f"`{frame}`") for frame, share in costs[:15]]


def machine_table(machine: dict[str, Any]) -> str:
    """Name and value of everything that was noted."""
    rows = []
    for name, value in machine.items():
        text = ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)
        rows.append((name, text))
    return table(("", ""), rows)
