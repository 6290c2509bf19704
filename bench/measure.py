"""What a measured interval costs: CPU by process group, memory, percentiles, and how quiet the machine was.

Everything is read from /proc, so it works on Linux only. The CPU of processes that take no part in a measurement is
reported with every interval: a figure from a busy machine must be recognisable as one.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
DRIVER = "driver"
OTHER = "other"
QUIET_CORES_MAX = 0.35


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table; CPU in clock ticks, with that of children it has reaped apart."""

    parent: int
    session: int
    own_ticks: int
    reaped_ticks: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU ticks used so far, by group and by the whole machine."""

    at: float
    groups: Mapping[str, int]
    machine: int


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds between two snapshots by group; `other` is the CPU of everybody who takes no part."""

    seconds: float
    cpu_s: Mapping[str, float]

    def cores(self, group: str) -> float:
        """How many cores a group kept busy on average."""
        return self.cpu_s[group] / self.seconds

    @property
    def quiet(self) -> bool:
        """Whether outsiders left the machine alone."""
        return self.cores(OTHER) <= QUIET_CORES_MAX

    def cpu_ms_each(self, count: int) -> dict[str, float]:
        """CPU milliseconds of each group for each of `count` units of work."""
        return {name: round(seconds * 1000 / count, 3) for name, seconds in self.cpu_s.items()}


def snapshot(groups: Mapping[str, Collection[int]]) -> Snapshot:
    """Read the CPU used until now; each group is given by its root processes, whose descendants belong to it."""
    table = process_table()
    driver = table[os.getpid()].own_ticks
    ticks = {name: group_ticks(table, roots) for name, roots in groups.items()}
    return Snapshot(time.monotonic(), {**ticks, DRIVER: driver}, machine_ticks())


def usage(before: Snapshot, after: Snapshot) -> Usage:
    """What was used between two snapshots."""
    cpu_s = {name: max(0, after.groups[name] - ticks) / TICKS_PER_SECOND for name, ticks in before.groups.items()}
    machine = (after.machine - before.machine) / TICKS_PER_SECOND
    cpu_s[OTHER] = max(0.0, machine - sum(cpu_s.values()))
    return Usage(after.at - before.at, cpu_s)


def wait_until_quiet(groups: Mapping[str, Collection[int]], within_s: float = 20.0) -> bool:
    """Wait until outsiders and the idle groups leave the machine alone; False when they never did."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        before = snapshot(groups)
        time.sleep(1)
        if usage(before, snapshot(groups)).quiet:
            return True
    return False


def process_table() -> dict[int, Process]:
    """Every process that can be read; those that vanish meanwhile are left out."""
    table = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (process := _process(entry)):
            table[int(entry)] = process
    return table


def _process(pid: str) -> Process | None:
    try:
        line = (PROC / pid / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may itself hold blanks and brackets.
    fields = line[line.rindex(")") + 2 :].split()
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return Process(int(fields[1]), int(fields[3]), user + system, reaped_user + reaped_system)


def members(table: Mapping[int, Process], roots: Collection[int]) -> set[int]:
    """The roots, their descendants, and whoever shares a session that a root leads."""
    found = {pid for pid, process in table.items() if pid in roots or process.session in roots}
    while more := {pid for pid, process in table.items() if process.parent in found} - found:
        found |= more
    return found


def group_ticks(table: Mapping[int, Process], roots: Collection[int]) -> int:
    """Ticks of all members; a member that ended is contained in the one that reaped it, with its whole life."""
    return sum(table[pid].own_ticks + table[pid].reaped_ticks for pid in members(table, roots))


def machine_ticks() -> int:
    """Ticks in which any core was busy (idle, waiting for the disk and stolen time left out)."""
    with (PROC / "stat").open() as file:
        user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return user + nice + system + irq + softirq


def resident_mib(roots: Collection[int]) -> float:
    """Resident memory of a group in MiB, shared pages divided among those who share them."""
    return round(sum(_proportional_kib(pid) for pid in members(process_table(), roots)) / 1024, 1)


def _proportional_kib(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1] of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }
