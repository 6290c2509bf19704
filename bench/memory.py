"""Does a role's memory stay bounded? Resident memory of each process group over very many cases."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.drive import Numbers, drive, warm_up
from bench.measure import resident_mib
from bench.series import Series, running
from bench.servers import Servers

CHUNK_FLOWS = 5000
GROWTH_MAX = 1.10


def measure_memory(
    series: Series, servers: Servers, scratch: Path, numbers: Numbers, *, cases: int, chunk: int = CHUNK_FLOWS
) -> dict[str, Any]:
    """Settle `cases` cases in chunks without a restart, and note each role's memory in MiB after each chunk."""
    samples = []
    with running(series, servers, scratch):
        warm_up(series, servers, numbers)
        for done in range(chunk, cases + 1, chunk):
            drive(series, servers, numbers, chunk)
            samples.append({"cases": done, "mib": resident_by_role(series)})
    return {"series": series.name, "samples": samples, "growth": growth_by_role(samples)}


def resident_by_role(series: Series) -> dict[str, float]:
    """Memory of each role now."""
    return {role: resident_mib(pids) for role, pids in series.roles().items()}


def growth_by_role(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median memory of the last quarter of the way over that of the second: 1.0 means that it stays.

    The first quarter is left out, because caches and pools fill up then.
    """
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    roles = samples[0]["mib"]
    return {role: round(_median(late, role) / _median(early, role), 3) for role in roles}


def _median(samples: Sequence[Mapping[str, Any]], role: str) -> float:
    return float(statistics.median(sample["mib"][role] for sample in samples))
