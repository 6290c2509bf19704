"""A party's staging table on a real database, as its own programs see it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import Engine, text

from store.database import open_engine
from tests.support.builders import HOSPITAL
from tests.support.eventually import eventually
from tests.support.servers import PostgresServer, fresh_database, libpq_url

DDL = (Path(__file__).parents[2] / "deploy" / "staging.sql").read_text(encoding="utf-8")
_INSERT = text(
    "INSERT INTO staging.staging_request (party, transaction, message_key, content) "
    "VALUES (:party, :transaction, :message_key, :content) RETURNING id"
)


class Table:
    """The sender's side."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = open_engine(url, application="sender", pool_size=2)

    def write(
        self, transaction: str, message: Mapping[str, Any] | str, key: str = "K-1", party: str | None = HOSPITAL
    ) -> int:
        """Insert a row; its id."""
        content = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        values = {"party": party, "transaction": transaction, "message_key": key, "content": content}
        with self.engine.begin() as connection:
            return int(connection.execute(_INSERT, values).scalar_one())

    def row(self, id_: int) -> dict[str, Any]:
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT * FROM staging.staging_request WHERE id = :id"), {"id": id_}).one()
            return found._asdict()

    def ended(self, id_: int, revision: int = 0, within_s: float = 60.0) -> dict[str, Any]:
        """The row when it is answered or refused, with this revision or a later one; waited for."""
        return eventually(
            lambda: (row := self.row(id_))["state"] in ("answered", "refused") and row["revision"] >= revision and row,
            within_s,
        )

    def answer(self, id_: int, revision: int = 0) -> dict[str, Any]:
        row = self.ended(id_, revision)
        assert row["state"] == "answered", row["error_text_zh"]
        return json.loads(row["answer"])

    def ask(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            done = connection.execute(text(statement), values)
            return list(done) if done.returns_rows else []

    def make_anew(self) -> None:
        """Empty, and as the script makes it."""
        run_script(self.url, f"DROP SCHEMA IF EXISTS staging CASCADE;\n{DDL}")

    def close(self) -> None:
        self.engine.dispose()


def run_script(url: str, script: str) -> None:
    """As psql would: the script has its own BEGIN and COMMIT."""
    connection = psycopg2.connect(libpq_url(url))
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(script)


@contextmanager
def a_staging_table(server: PostgresServer) -> Iterator[Table]:
    """A database of its own with the table in it."""
    with fresh_database(server) as url:
        run_script(url, DDL)
        table = Table(url)
        try:
            yield table
        finally:
            table.close()


def a_polled_book(**polling: Any) -> dict[str, Any]:
    """The changes to a rule book under which HOSPITAL's table is polled."""
    from tests.support.visit_builders import a_book_with_visits

    institutions = a_book_with_visits("optional")["institutions"]
    institutions[0] |= {"link": "staging", "staging": {"poll_s": 0.05} | polling}
    return {"institutions": institutions}


def write_secrets(folder: Path, urls: Mapping[str, str]) -> str:
    """The file of the parties' secrets with these addresses of staging databases."""
    path = folder / "secrets.yaml"
    path.write_text(json.dumps({party: {"staging_url": url} for party, url in urls.items()}), encoding="utf-8")
    return str(path)
