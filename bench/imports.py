"""What an import of a million rows costs beside a bare COPY of the same rows into the same table, in the same run.

`python -m bench.imports` starts a private PostgreSQL and prints a table; `--rows 100000` is a proof that it works. Each
import is a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from bench.servers import DATABASE_SETTINGS, sqlalchemy_url
from hub.imports.job import Importer, Order
from hub.master_rows import ROW_KINDS, operator
from schemas.identity import check_character
from store.database import open_engine, upgrade
from store.driver import driver_cursor
from tests.support.postgres_server import LocalPostgres, libpq_url, maintenance, with_database

ROWS = 1_000_000
SECRET = b"only for invented people in a bench"
_BARE_BATCH = 50_000
REGION = "330100"


def catalogue_row(number: int) -> str:
    """Line `number` of an invented catalogue."""
    price = f"{number % 9_000 + 1}.{number % 100:02d}"
    return f"101,X{number:09d},Invented item {number},09,01,2026-01-01,,{price},0.1,0.25g*24,box"


def population_row(number: int) -> str:
    """Line `number` of an invented population; each identity number is another and right."""
    first_17 = f"{REGION}{1900 + number // 28_000 % 100:04d}01{1 + number // 1000 % 28:02d}{number % 1000:03d}"
    return (
        f"01,{first_17}{check_character(first_17)},Invented {number},{number % 2 + 1},,"
        f"P{number:09d},{REGION},390,A{number % 3},2026-01-01,"
    )


FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "catalogue": (
        "list_type,item_code,item_name,category,level,valid_from,valid_until,price_max,self_pay,spec,unit",
        catalogue_row,
    ),
    "population": (
        "id_type,id_no,name,sex,birth_date,person_no,region,insurance_type,category,valid_from,valid_until",
        population_row,
    ),
}


def write_file(path: Path, kind: str, rows: int, *, note: str = "") -> None:
    """A CSV file of invented rows; `note` makes another file of the same rows."""
    head, row = FILES[kind]
    with path.open("w", encoding="utf-8") as content:
        content.write(f"{head}\n")
        content.writelines(f"{row(number)}\n" for number in range(1, rows + 1))
        content.write(note)


def bare_copy(engine: Engine, kind: str) -> float:
    """Rows per second of COPY into a table with the same columns and indexes, from lines that are ready-made."""
    table = ROW_KINDS[kind].kind.table.name
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE bare (LIKE {table} INCLUDING ALL)"))
    with engine.connect() as source, driver_cursor(source, "COPY") as cursor:
        ready = StringIO()
        cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT", ready)
    lines = ready.getvalue().splitlines(keepends=True)
    begun = time.monotonic()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        with driver_cursor(connection, "COPY") as cursor:
            for start in range(0, len(lines), _BARE_BATCH):
                cursor.copy_expert("COPY bare FROM STDIN", StringIO("".join(lines[start : start + _BARE_BATCH])))
    took = time.monotonic() - begun
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE bare"))
    return len(lines) / took


def import_once(url: str, kind: str, path: Path) -> dict[str, Any]:
    """In a process of its own: seconds, CPU seconds and peak memory of one import."""
    engine = open_engine(url, by_key=False)
    begun, cpu = time.monotonic(), time.process_time()
    outcome = Importer(engine, SECRET).run(Order(path, ROW_KINDS[kind], operator()))
    if outcome.applied is None:
        raise RuntimeError(f"{outcome.problem_count} problems, the first: {outcome.problems[:3]}")
    took = time.monotonic() - begun
    return {
        "rows": outcome.rows,
        "new": outcome.applied.new,
        "seconds": round(took, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "rows_per_s": round(outcome.rows / took),
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    """Of this program alone: what getrusage tells begins with the memory of whoever started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def in_a_process(url: str, kind: str, path: Path) -> dict[str, Any]:
    """`import_once` in a fresh interpreter."""
    command = [sys.executable, "-m", "bench.imports", "--one", kind, url, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(kind: str, rows: int, url: str, folder: Path) -> dict[str, Any]:
    """First import, the same rows again, and the bare COPY beside them."""
    path, again = folder / f"{kind}.csv", folder / f"{kind}-again.csv"
    write_file(path, kind, rows)
    write_file(again, kind, rows, note="\n")
    first = in_a_process(url, kind, path)
    second = in_a_process(url, kind, again)
    engine = open_engine(url, by_key=False)
    bare = bare_copy(engine, kind)
    engine.dispose()
    return {"kind": kind, "first": first, "again": second, "bare_copy_rows_per_s": round(bare),
            "ratio": round(first["rows_per_s"] / bare, 3)}  # fmt: skip


@contextmanager
def database() -> Iterator[str]:
    """A private PostgreSQL with fsync on and the hub's schema."""
    server = LocalPostgres(DATABASE_SETTINGS)
    try:
        with maintenance(libpq_url(server.url)) as cursor:
            cursor.execute('CREATE DATABASE "imports"')
        url = with_database(libpq_url(server.url), "imports")
        upgrade(url)
        yield sqlalchemy_url(url)
    finally:
        server.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "URL", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind, url, path = given.one
        print(json.dumps(import_once(url, kind, Path(path))))
        return
    with tempfile.TemporaryDirectory(prefix="bench-imports-") as folder, database() as url:
        for kind in FILES:
            print(json.dumps(measure(kind, given.rows, url, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
