"""Does a case cost more when many are stored? The same drive with ever more rows in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.drive import Numbers, Row, quiet_drive, warm_up
from bench.series import Series, StoresCases, running
from bench.servers import Servers

STORED = (0, 100_000, 1_000_000)


def measure_growth(
    series: Series,
    servers: Servers,
    scratch: Path,
    numbers: Numbers,
    *,
    flows: int,
    rounds: int,
    stored: Sequence[int] = STORED,
) -> dict[str, Any]:
    """Rows per number of stored cases (ascending), and once more with the first number after a new start.

    The last measurement repeats the first: what differs between those two is drift of the machine, not growth.
    """
    points = _ascending(series, servers, scratch, numbers, flows, rounds, stored)
    again = _ascending(series, servers, scratch, numbers, flows, rounds, stored[:1])
    return {"series": series.name, "points": points, "again": again[0]}


def _ascending(
    series: Series,
    servers: Servers,
    scratch: Path,
    numbers: Numbers,
    flows: int,
    rounds: int,
    stored: Sequence[int],
) -> list[dict[str, Any]]:
    points = []
    with running(series, servers, scratch):
        warm_up(series, servers, numbers)
        for total in stored:
            _fill(series, total)
            warm_up(series, servers, numbers)
            rows: list[Row] = [quiet_drive(series, servers, numbers, flows) for _ in range(rounds)]
            points.append({"stored": total, "rows": rows})
    return points


def _fill(series: Series, total: int) -> None:
    if not isinstance(series, StoresCases):
        raise TypeError(f"{series.name} has no stores to fill")
    series.fill(total)
