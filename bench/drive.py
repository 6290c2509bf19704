"""One measured drive of a running series: its speed, what it cost, and whether its figures may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.driver import Driver
from bench.measure import DRIVER, OTHER, percentile, snapshot, usage, wait_until_quiet
from bench.series import Series
from bench.servers import Servers

WARM_UP_FLOWS = 300
HUB, BROKER, DATABASE, PARTIES = "hub", "broker", "database", "parties"
SYSTEM = (HUB, BROKER, DATABASE)
Row = dict[str, Any]


class Numbers:
    """Hands out request numbers, each once in a whole run."""

    def __init__(self) -> None:
        self._next = 1

    def take(self, count: int) -> int:
        """The first of `count` new numbers."""
        first, self._next = self._next, self._next + count
        return first


def warm_up(series: Series, servers: Servers, numbers: Numbers, flows: int = WARM_UP_FLOWS) -> None:
    """Run some flows that do not count; also the proof that the series is ready."""
    drive(series, servers, numbers, flows)


def quiet_drive(series: Series, servers: Servers, numbers: Numbers, flows: int, rate_s: float | None = None) -> Row:
    """As `drive`, after leftovers of earlier drives are written out and outsiders have calmed down."""
    servers.checkpoint()
    wait_until_quiet(groups_of(series, servers))
    return drive(series, servers, numbers, flows, rate_s)


def drive(series: Series, servers: Servers, numbers: Numbers, flows: int, rate_s: float | None = None) -> Row:
    """Publish `flows` requests (at `rate_s` per second, else as fast as it takes them) and report on them."""
    first = numbers.take(flows)
    settled_before = series.settled()
    driver = Driver(series.broker_url, series.conversation, first=first, count=flows, rate_s=rate_s, alive=series.alive)
    groups = groups_of(series, servers)
    before = snapshot(groups)
    tally = driver.run()
    used = usage(before, snapshot(groups))
    faults = dict(tally.faults)
    if unsettled := flows - (series.settled() - settled_before):
        faults["unsettled"] = unsettled
    return {
        "flows": flows,
        "rate_s": rate_s,
        **tally.summary(),
        **own_times(tally.latencies_ms, series.parties_ms(first, flows)),
        **costs(used.cpu_ms_each(flows)),
        "other_cores": round(used.cores(OTHER), 3),
        "quiet": used.quiet,
        "faults": faults,
    }


def groups_of(series: Series, servers: Servers) -> dict[str, Sequence[int]]:
    """Root processes by group: each role of the series, the servers, the parties."""
    return {
        **{f"{HUB}/{role}": pids for role, pids in series.roles().items()},
        BROKER: [servers.broker.pid],
        DATABASE: [servers.database.pid],
        PARTIES: series.parties(),
    }


def costs(each: Mapping[str, float]) -> Row:
    """CPU milliseconds per flow: by group, by role, and of the system together (driver and parties left out)."""
    roles = {name.removeprefix(f"{HUB}/"): ms for name, ms in each.items() if name.startswith(f"{HUB}/")}
    cpu_ms = {HUB: round(sum(roles.values()), 3), **{name: each[name] for name in (BROKER, DATABASE, PARTIES, DRIVER)}}
    return {
        "cpu_ms": cpu_ms,
        "role_cpu_ms": roles,
        "system_cpu_ms": round(sum(cpu_ms[name] for name in SYSTEM), 3),
    }


def own_times(latencies_ms: Mapping[str, float], parties_ms: Mapping[str, float]) -> Row:
    """Percentiles of what is left of each latency when the parties' time is taken off, where the series knows that."""
    own_ms = [latency - parties_ms[key] for key, latency in latencies_ms.items() if key in parties_ms]
    if not own_ms:
        return {}
    return {f"own_p{share}_ms": round(percentile(own_ms, share / 100), 2) for share in (50, 95, 99)}
