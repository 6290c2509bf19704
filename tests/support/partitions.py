"""A database in months, as `deploy/partitions.sql` makes it, and the plans of whatever is asked of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import Engine, event

from tests.support.postgres_server import libpq_url

SCRIPT = Path(__file__).parents[2] / "deploy" / "partitions.sql"
TABLES = (
    "settlement_case",
    "settlement_leg",
    "case_answer",
    "case_undo",
    "exchange",
    "search_key",
    "ledger_entry",
)
_STEP = re.compile(r"^-- step.*$", re.MULTILINE)
_SHOWN = "SELECT set_config(name, value, false) FROM (VALUES {}) AS s(name, value)"
_SETTINGS = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_level": "warning",
    "enable_seqscan": "off",
}


def partition(url: str, first_month: str) -> None:
    """Run the script, step by step, with months from `first_month` on."""
    connection = psycopg2.connect(libpq_url(url))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('hub.partition_from', %s, false)", (first_month,))
            for step in _STEP.split(SCRIPT.read_text(encoding="utf-8"))[1:]:
                cursor.execute(step)
    finally:
        connection.close()


class Plans:
    """What the database says about each statement, with the statement. Stands in for a connection's list of notices,
    which is asked after every commit whether there are any: plans are none."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def append(self, notice: str) -> None:
        if "Query Text:" in notice:
            self.seen.append(notice)

    def clear(self) -> None:
        """Nothing is forgotten."""

    def __bool__(self) -> bool:
        return False

    def read_whole(self) -> list[str]:
        """Nodes that read a table of months from end to end, with their statement."""
        return [f"{plan.splitlines()[1][:200]}: {node}" for plan in self.seen for node in _whole_reads(plan)]

    def partitions(self, words: str) -> int:
        """The most parts of one table that a run of the statement with these words looked into; 0: it never ran."""
        return max((_parts(plan) for plan in self.seen if words in plan), default=0)


_TABLE = rf"((?:{'|'.join(TABLES)})(?:_p0|_\d{{6}})?)\b"
_NODE = re.compile(rf"^ *(?:->  )?(\w[\w ]* (?:on|using \w+ on) {_TABLE}.*)\n *(.*)", re.MULTILINE)


def _nodes(plan: str) -> Iterator[tuple[str, str, str]]:
    """(what is done, to which table, the line that follows) of each node of the plan that ran."""
    return ((node[1], node[2], node[3]) for node in _NODE.finditer(plan) if "never executed" not in node[1])


def _whole_reads(plan: str) -> Iterator[str]:
    """What ran through a table without looking anything up. Months to come are empty: they may be read anyhow."""
    this_month = f"_{date.today():%Y%m}"
    for done, table, follows in _nodes(plan):
        looked_up = "Index Cond" in follows or "Recheck Cond" in follows
        in_order = "case_to_watch" in done or "Backward" in done
        to_come = table[-7:] > this_month and not table.endswith("_p0")
        if "Scan" in done and not (looked_up or in_order or to_come):
            yield done


def _parts(plan: str) -> int:
    read: dict[str, set[str]] = {}
    for done, table, _ in _nodes(plan):
        if "Scan" in done:
            read.setdefault(re.sub(r"_(p0|\d{6})$", "", table), set()).add(table)
    return max(map(len, read.values()), default=1)


@contextmanager
def explained() -> Iterator[Plans]:
    """Every statement of every connection that is opened meanwhile is explained as it ran."""
    plans = Plans()

    def listen(connection: Any, _: object) -> None:
        connection.notices = plans
        with connection.cursor() as cursor:
            cursor.execute("LOAD 'auto_explain'")
            values = ", ".join(f"('{name}', '{value}')" for name, value in _SETTINGS.items())
            cursor.execute(_SHOWN.format(values))
        connection.commit()

    event.listen(Engine, "connect", listen)
    try:
        yield plans
    finally:
        event.remove(Engine, "connect", listen)
