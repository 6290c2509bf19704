"""Random faults on a running world under steady traffic, then peace, and a comparison of all books.

`python -m tests.support.nemesis --minutes 2 --seed 7`. What strikes, where, and for how long comes from the seed; when
exactly it strikes does not, since the machine has its own pace.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit

from sandbox import parties
from sandbox.faults import Fault, FaultKind
from tests.support.eventually import eventually
from tests.support.freeze import frozen
from tests.support.hub_processes import WITH_HTTP, World, world
from tests.support.mixed_traffic import MixedTraffic, Tally, mixed_traffic
from tests.support.servers import (
    PostgresServer,
    RabbitServer,
    fresh_database,
    fresh_vhost,
    postgres,
    rabbitmq,
    template,
)
from tests.support.tcp_proxy import TcpProxy

DAY = 120
BILLS = 10
PAYER_TIMEOUT_S = 1.0
CALM_S_MAX = 1.0
STRIKES_S = (0.3, 3.0)
SETTLE_DOWN_S = 240.0
ROUND_S_MAX = 600.0
"""A longer run is made of rounds, so that books stay small enough to be compared often."""
READY_S_MAX = 180.0

_SCRIPTS: tuple[Fault, ...] = (
    Fault(kind=FaultKind.SLOW, rate=0.5, seconds=0.5),
    Fault(kind=FaultKind.SILENT, rate=0.3, seconds=3),
    Fault(kind=FaultKind.HTTP_500, rate=0.5),
    Fault(kind=FaultKind.REFUSE_CONNECTION, seconds=2),
    Fault(kind=FaultKind.GARBAGE, rate=0.3),
    Fault(kind=FaultKind.DUPLICATE_ANSWER, rate=0.5),
    Fault(kind=FaultKind.LOST_ANSWER, rate=0.5),
    Fault(kind=FaultKind.WRONG_TOTAL, count=1),
    Fault(kind=FaultKind.LATE, rate=0.3, seconds=2),
    Fault(kind=FaultKind.DELAYED_EFFECT, rate=0.3, seconds=1),
    Fault(kind=FaultKind.NOT_FOUND_FIRST, count=3),
    Fault(kind=FaultKind.REFUSE_UNDO, count=1),
)
Strike = Callable[[float], None]


@dataclass
class Nemesis:
    """Strikes one place after the other; everything is whole again after `heal`."""

    world: World
    random: Random
    database: PostgresServer
    broker: RabbitServer
    lines: Mapping[str, TcpProxy]
    struck: Counter[str] = field(default_factory=Counter)

    def rage(self, for_s: float) -> None:
        """Strike until time is over."""
        strikes = self._strikes()
        pause = threading.Event()
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            pause.wait(self.random.uniform(0, CALM_S_MAX))
            self._revive()
            name = self.random.choice(sorted(strikes))
            self.struck[name] += 1
            strikes[name](self.random.uniform(*STRIKES_S))

    def heal(self) -> None:
        """Servers, lines, payers and processes as they should be."""
        for line in self.lines.values():
            line.heal()
        for party in parties.PARTIES:
            self.world.sandbox.set_faults(party, [])
        self.database.start()
        self.broker.start()
        eventually(self._all_run, within_s=READY_S_MAX)

    def _all_run(self) -> bool:
        self._revive()
        return all(process.is_alive() for process in self.world.hub.running.values())

    def _revive(self) -> None:
        """What a supervisor does."""
        hub = self.world.hub
        for role in WITH_HTTP:
            if role not in hub.running or not hub.running[role].is_alive():
                hub.start(role)

    def _strikes(self) -> dict[str, Strike]:
        strikes: dict[str, Strike] = {}
        for role in WITH_HTTP:
            strikes[f"kill {role}"] = lambda _, role=role: self.world.hub.kill(role)
            strikes[f"freeze {role}"] = lambda seconds, role=role: self._freeze(role, seconds)
        for fault in _SCRIPTS:
            strikes[f"payer {fault.kind}"] = lambda seconds, fault=fault: self._spoil(fault, seconds)
        if self.database.is_ours:
            strikes["kill database"] = lambda seconds: self._down(self.database, seconds)
            strikes["freeze database"] = lambda seconds: self._still(self.database, seconds)
        if self.broker.is_ours:
            strikes["kill broker"] = lambda seconds: self._down(self.broker, seconds)
            strikes["freeze broker"] = lambda seconds: self._still(self.broker, seconds)
        for name, line in self.lines.items():
            strikes[f"silence the line to the {name}"] = lambda seconds, line=line: self._silence(line, seconds)
            strikes[f"cut the line to the {name}"] = lambda _, line=line: self._cut(line)
        return strikes

    def _wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def _freeze(self, role: str, seconds: float) -> None:
        pid = self.world.hub.running[role].pid
        assert pid is not None
        with frozen(pid):
            self._wait(seconds)

    def _spoil(self, fault: Fault, seconds: float) -> None:
        party = self.random.choice(parties.PARTIES)
        self.world.sandbox.set_faults(party, [fault], seed=self.random.randrange(2**31))
        self._wait(seconds)
        self.world.sandbox.set_faults(party, [])

    def _down(self, server: PostgresServer | RabbitServer, seconds: float) -> None:
        server.kill()
        self._wait(seconds)
        server.start()

    def _still(self, server: PostgresServer | RabbitServer, seconds: float) -> None:
        server.pause()
        self._wait(seconds)
        server.resume()

    def _silence(self, line: TcpProxy, seconds: float) -> None:
        line.silence()
        self._wait(seconds)
        line.heal()

    def _cut(self, line: TcpProxy) -> None:
        line.reset()


@contextmanager
def a_world_to_break(
    database: PostgresServer, broker: RabbitServer, schema: str, folder: Path, seed: int
) -> Iterator[tuple[MixedTraffic, Nemesis]]:
    """A world whose hub reaches its servers through lines that can be broken, with its traffic and its nemesis."""
    with ExitStack() as stack:
        database_url = stack.enter_context(fresh_database(database, template=schema))
        broker_url = stack.enter_context(fresh_vhost(broker))
        to_database = stack.enter_context(TcpProxy(_end_of(database_url)))
        to_broker = stack.enter_context(TcpProxy(_end_of(broker_url)))
        found = stack.enter_context(
            world(
                database_url,
                broker_url,
                folder,
                DAY,
                seed=seed,
                hub_database_url=_through(to_database, database_url),
                hub_broker_url=_through(to_broker, broker_url),
                payer_timeout_s=PAYER_TIMEOUT_S,
            )
        )
        for role in WITH_HTTP:
            found.hub.start(role)
        traffic = stack.enter_context(mixed_traffic(found, broker_url, folder, seed))
        lines = {"database": to_database, "broker": to_broker}
        yield traffic, Nemesis(found, Random(seed), database, broker, lines)


def torment(traffic: MixedTraffic, nemesis: Nemesis, for_s: float, *, within_s: float = SETTLE_DOWN_S) -> Tally:
    """One round: traffic, faults, peace, and what came of it."""
    with traffic.flowing(BILLS):
        try:
            nemesis.rage(for_s)
        finally:
            nemesis.heal()
    return traffic.settle_down(within_s)


def run(minutes: float, seed: int) -> bool:
    """Rounds until time is over, each on a world of its own; whether all were clean."""
    until = time.monotonic() + 60 * minutes
    clean = True
    cases = 0
    struck: Counter[str] = Counter()
    with postgres(private=True) as database, rabbitmq(private=True) as broker, template(database) as schema:
        while clean and (left_s := until - time.monotonic()) > 0:
            with tempfile.TemporaryDirectory(prefix="hub-nemesis-", ignore_cleanup_errors=True) as folder:
                print(f"== nemesis, seed {seed}", flush=True)
                with a_world_to_break(database, broker, schema, Path(folder), seed) as (traffic, nemesis):
                    tally = torment(traffic, nemesis, min(left_s, ROUND_S_MAX))
                report(nemesis, tally)
            clean = tally.is_clean and tally.doubts_open == 0
            cases += tally.cases
            struck += nemesis.struck
            seed += 1
    print(
        f"== nemesis: {cases} cases, {struck.total()} faults of {len(struck)} kinds, {'clean' if clean else 'FAILED'}"
    )
    return clean


def report(nemesis: Nemesis, tally: Tally) -> None:
    """For people."""
    for name, times in sorted(nemesis.struck.items()):
        print(f"  {times:5} {name}")
    for line in tally.lines():
        print(f"  {line}", flush=True)


def _end_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _through(line: TcpProxy, url: str) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{line.address}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    return 0 if run(given.minutes, given.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
