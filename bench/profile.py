"""Where a saturated series spends its time: sampled Python stacks by role, and the database's dearest statements."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.drive import Numbers, drive, warm_up
from bench.series import Series, running
from bench.servers import Servers

SAMPLES_PER_S = 200
SAMPLER_S_MAX = 120
TOP = 20
MACHINE_FOLDERS = re.compile(r"\((?:/\S*?/(?:site-packages|lib/python3\.\d+)/|/\S*/(?=bench/|hub/|store/))")
OURS = re.compile(r"\((?:schemas|routing|store|adapters|hub)/")


def measure_profile(series: Series, servers: Servers, scratch: Path, numbers: Numbers, *, flows: int) -> dict[str, Any]:
    """Drive the series saturated under the samplers; the figures of this drive are not comparable with others."""
    with running(series, servers, scratch):
        warm_up(series, servers, numbers)
        servers.watch_statements(series.database_url)
        samplers = {role: Sampler(pids[0], scratch / f"{role}.stacks") for role, pids in series.roles().items()}
        row = drive(series, servers, numbers, flows)
        roles = {role: top_costs(sampler.finish()) for role, sampler in samplers.items()}
        statements = servers.dearest_statements(series.database_url)
    return {"series": series.name, "row": row, "roles": roles, "statements": statements}


class Sampler:
    """py-spy on a process and its children. It looks without stopping them, so a rare stack may be torn."""

    def __init__(self, pid: int, output: Path) -> None:
        self._output = output
        beside = Path(sys.executable).with_name("py-spy")
        command = [str(beside) if beside.exists() else "py-spy", "record", "--pid", str(pid), "--output", str(output)]
        options = ["--subprocesses", "--nonblocking", "--function", "--format", "raw"]
        limits = ["--rate", str(SAMPLES_PER_S), "--duration", str(SAMPLER_S_MAX)]
        self._process = subprocess.Popen(
            [*command, *options, *limits], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def finish(self) -> list[tuple[list[str], int]]:
        """Stop sampling; each stack (outermost frame first) with how often it was seen."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        lines = self._output.read_text(encoding="utf-8").splitlines() if self._output.exists() else []
        return [_parse(line) for line in lines]


def _parse(line: str) -> tuple[list[str], int]:
    stack, _, count = line.rpartition(" ")
    return [_short(frame) for frame in stack.split(";")], int(count)


def _short(frame: str) -> str:
    """A frame without the folders of this machine."""
    return MACHINE_FOLDERS.sub("(", frame)


def top_costs(stacks: Sequence[tuple[list[str], int]]) -> dict[str, Any]:
    """Shares in percent: by the function that ran, and by our own functions with all that they called."""
    total = sum(count for _, count in stacks)
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for frames, count in stacks:
        own[frames[-1]] += count
        inclusive.update({frame: count for frame in set(frames) if OURS.search(frame)})
    return {"samples": total, "own": _shares(own, total), "inclusive": _shares(inclusive, total)}


def _shares(counts: Counter[str], total: int) -> list[tuple[str, float]]:
    return [(frame, round(100 * count / total, 1)) for frame, count in counts.most_common(TOP)]
