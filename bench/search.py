"""Search over many cases, and what it costs a settlement that it can be found.

`python -m bench.search` starts a private PostgreSQL, stores a million cases and prints two tables: how long a search by
each kind of key takes, and what storing the names costs a case in four ways of doing it. `--cases 100000` is a proof
that it works.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, Engine, text

from bench.search_fill import INSTITUTIONS, PERSONS_SHARE, fill
from bench.servers import DATABASE_SETTINGS
from routing.states import LegEvent
from schemas.codes import Outcome
from schemas.national.envelope import msgid_of
from schemas.payer import Decision
from store import cases, search
from store.database import open_engine, upgrade
from store.records import CaseRecord
from store.search import Known, Name
from tests.support.builders import a_case, a_leg
from tests.support.postgres_server import LocalPostgres, maintenance

CASES = 1_000_000
SEARCHES = 400
BATCHES, BATCH = 60, 32
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def case_id(number: int) -> str:
    """The id of a stored case, as `search_fill` makes it."""
    digits = f"{1767225600000 + number * 10000:012x}70008000{number:012x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def institution(number: int) -> str:
    return f"H4403{number % INSTITUTIONS:08d}"


Key = Callable[[int], tuple[str, tuple[str, ...]]]
KEYS: dict[str, Key] = {
    "case id": lambda n: (case_id(n), ()),
    "request id": lambda n: (f"{case_id(n).replace('-', '')}-2", ()),
    "institution/settlement number": lambda n: (f"{institution(n)}/S{n}", ()),
    "settlement number": lambda n: (f"S{n}", ()),
    "message id": lambda n: (f"M-{n}", ()),
    "visit number": lambda n: (f"V{n}", ()),
    "visit number of 10,000 cases": lambda _: ("1", ()),
    "person": lambda n: ("-", (f"person-{n // PERSONS_SHARE}",)),
    "person with 10,000 cases": lambda _: ("-", ("common",)),
    "payer's reference": lambda n: (f"REF-{n}-2", ()),
    "cancel number": lambda n: (f"C-{n // 20 * 20}", ()),
    "national message number": lambda n: (
        msgid_of(institution(n)[:12], EPOCH + timedelta(seconds=10 * n), n * 20 + 7),
        (),
    ),
    "nothing": lambda n: (f"NOTHING-{n}", ()),
}


def searched(engine: Engine, total: int, key: Key, chance: random.Random) -> tuple[list[float], int]:
    """Milliseconds of each search, a connection taken and given back each time, and how many found something."""
    took, found = [], 0
    for _ in range(SEARCHES):
        wanted, persons = key(chance.randrange(total))
        begun = time.perf_counter()
        with engine.connect() as connection:
            found += bool(search.find(connection, wanted, persons))
        took.append((time.perf_counter() - begun) * 1000)
    return sorted(took), found


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make cases findable: what it adds to the schema, and what it does with the names of new cases."""

    name: str
    begin: tuple[str, ...]
    end: tuple[str, ...]
    add: Callable[[Connection, Iterable[Known]], None]


def _nothing(connection: Connection, known: Iterable[Known]) -> None:
    """Names stand in columns, or nowhere."""


_GIN = text(
    "INSERT INTO search_sets SELECT array_agg(key), CAST(id AS uuid), '440300' "
    "FROM unnest(CAST(:keys AS bigint[]), CAST(:ids AS text[])) AS n(key, id) GROUP BY id"
)


def _sets(connection: Connection, known: Iterable[Known]) -> None:
    known = list(known)
    if known:
        keys = [search.key_of(one.name, one.value) for one in known]
        connection.execute(_GIN, {"keys": keys, "ids": [one.case_id for one in known]})


_SETS = (
    "CREATE TABLE search_sets AS "
    "SELECT array_agg(key) AS keys, case_id, min(region) AS region FROM search_key GROUP BY case_id"
)
WAYS = (
    Way("not at all", (), (), _nothing),
    Way(
        "indexes on the columns themselves",
        (
            # Stand-ins of the same width for a visit number and a keyed hash of the person, which have no columns.
            "CREATE INDEX way_1 ON settlement_case (correlation_id)",
            "CREATE INDEX way_2 ON settlement_case (settlement_no)",
            "CREATE INDEX way_3 ON settlement_case (request_hash)",
            "CREATE INDEX way_4 ON settlement_leg (payer_reference)",
        ),
        ("DROP INDEX way_1, way_2, way_3, way_4",),
        _nothing,
    ),
    Way("rows of search_key, b-tree", (), (), search.add),
    Way(
        "rows of search_key, hash index",
        ("DROP INDEX search_key_by_key", "CREATE INDEX way_5 ON search_key USING hash (key)"),
        ("DROP INDEX way_5", "CREATE INDEX search_key_by_key ON search_key (key, case_id)"),
        search.add,
    ),
    Way(
        "one row of several keys, GIN",
        (_SETS, "CREATE INDEX way_6 ON search_sets USING gin (keys)"),
        ("DROP TABLE search_sets",),
        _sets,
    ),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one case: microseconds of processor here and in the database, KB of write-ahead log."""

    own_us: float
    database_us: float
    log_kb: float


def new_cases(first: int) -> list[CaseRecord]:
    """A batch of cases that no payer has been asked about."""
    made = []
    for number in range(first, first + BATCH):
        legs = [a_leg(1), a_leg(2)]
        made.append(
            a_case(
                *legs,
                case_id=case_id(number),
                institution=institution(number),
                settlement_no=f"S{number}",
                correlation_id=f"M-{number}",
                request_hash=f"{random.Random(number).getrandbits(256):064x}",
            )
        )
    return made


def lived(engine: Engine, way: Way, first: int) -> None:
    """A batch of cases from intake to its end, in six transactions as the hub makes them."""
    with engine.begin() as connection:
        batch = new_cases(first)
        cases.insert_new(connection, batch)
        way.add(connection, [known for case in batch for known in _names(case)])
    for leg_no in (1, 2):
        with engine.begin() as connection:
            locked = cases.lock(connection, [case.case_id for case in batch]).values()
            for case in locked:
                leg = case.leg(leg_no)
                leg.apply(LegEvent.CLAIM)
                leg.left_fen, leg.attempts = 20_000, 1
            cases.save(connection, locked)
        with engine.begin() as connection:
            locked = cases.lock(connection, [case.case_id for case in batch]).values()
            for case in locked:
                decision = Decision(Outcome.APPROVED, 100, f"REF-{case.settlement_no}-{leg_no}")
                case.leg(leg_no).record(decision, LegEvent.APPROVE, EPOCH)
                case.business_day = EPOCH.date()
                case.changed = case.leg(leg_no).changed = True
                case.leg(leg_no).named = False
                if leg_no == 2:
                    case.watch(None)
            cases.save(connection, locked)
            way.add(connection, [known for case in locked for known in search.references(case.leg(leg_no))])


def _names(case: CaseRecord) -> Iterator[Known]:
    for name, value in (
        (Name.MESSAGE, case.correlation_id),
        (Name.VISIT, f"V-{case.settlement_no}"),
        (Name.PERSON, case.request_hash),
    ):
        yield Known(name, value, case.case_id, case.region)


def cost(engine: Engine, server: LocalPostgres, way: Way, first: int) -> Cost:
    """What a case costs in this way, its names included."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in ("SET statement_timeout = 0", *way.begin, "CHECKPOINT"):
            connection.execute(text(statement))
        lived(engine, way, first)
        log = connection.execute(text("SELECT pg_current_wal_lsn()")).scalar_one()
        own, theirs = time.thread_time(), _cpu_s(server)
        for number in range(1, BATCHES + 1):
            lived(engine, way, first + number * BATCH)
        own, theirs = time.thread_time() - own, _cpu_s(server) - theirs
        grown = connection.execute(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), :log)"), {"log": log})
        made = BATCHES * BATCH
        spent = Cost(own / made * 1e6, theirs / made * 1e6, float(grown.scalar_one()) / made / 1024)
        for statement in (*way.end, "RESET statement_timeout"):
            connection.execute(text(statement))
    return spent


def _cpu_s(server: LocalPostgres) -> float:
    """Seconds of processor that the server's processes have taken so far."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == server.pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def filled(total: int) -> Iterator[tuple[Engine, LocalPostgres]]:
    """A server with so many cases in its database."""
    # Without full pages: what is compared is what each way adds, not how long ago the last checkpoint was.
    server = LocalPostgres({**DATABASE_SETTINGS, "synchronous_commit": "off", "full_page_writes": "off"})
    try:
        upgrade(server.url)
        with maintenance(server.url) as cursor:
            fill(cursor, total)
        engine = open_engine(server.url)
        yield engine, server
        engine.dispose()
    finally:
        server.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the second table, the first not counted")
    asked = parser.parse_args()
    with filled(asked.cases) as (engine, server):
        show_searches(engine, asked.cases)
        show_costs(engine, server, asked.cases, asked.rounds)


def show_searches(engine: Engine, total: int) -> None:
    """The first table."""
    chance = random.Random(1)
    print(f"{total} cases\n{'key':32} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8} {'found':>6}")
    for name, key in KEYS.items():
        took, found = searched(engine, total, key, chance)
        p50, p95 = took[len(took) // 2], took[len(took) * 95 // 100]
        print(f"{name:32} {p50:8.2f} {p95:8.2f} {took[-1]:8.2f} {found / SEARCHES:6.0%}", flush=True)


def show_costs(engine: Engine, server: LocalPostgres, total: int, rounds: int) -> None:
    """The second table: medians over the rounds but the first, in which everybody warms up."""
    spent: dict[str, list[Cost]] = {way.name: [] for way in WAYS}
    first = total
    for _ in range(rounds):
        for way in WAYS:
            spent[way.name].append(cost(engine, server, way, first))
            first += (BATCHES + 1) * BATCH
    print(f"\n{'way to be found, of one case':36} {'own us':>8} {'database us':>12} {'log KB':>8}")
    for name, costs in spent.items():
        own, database, log = (
            median(getattr(one, field) for one in costs[1:] or costs) for field in ("own_us", "database_us", "log_kb")
        )
        print(f"{name:36} {own:8.0f} {database:12.0f} {log:8.2f}")


if __name__ == "__main__":
    main()
