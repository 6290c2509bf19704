"""Uploads of master data as parties send them, and a desk for them on a hub of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
from sqlalchemy import Engine, text

from hub.inbound import Taken
from hub.master_data import MasterData
from schemas.transactions import Transaction
from tests.support.builders import BASIC, REGION, a_party, an_id_card
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub

SECRET = PERSON_SECRET.encode()
BASIC_PARTY = a_party(BASIC, "basic", region=REGION)


def an_item(code: str = "XA01", **changes: Any) -> dict[str, Any]:
    """A row of the catalogue."""
    return {"list_type": "101", "item_code": code, "item_name": "阿莫西林胶囊", "level": "01",
            "valid_from": "2026-01-01"} | changes  # fmt: skip


def a_mapping(local_code: str = "L-1", item_code: str = "XA01", **changes: Any) -> dict[str, Any]:
    """What a hospital's code is in the national catalogue."""
    return {"list_type": "101", "local_code": local_code, "local_name": "阿莫西林", "item_code": item_code,
            "valid_from": "2026-01-01"} | changes  # fmt: skip


def a_person(**changes: Any) -> dict[str, Any]:
    """The patient of `a_settle_request` as the population file has them."""
    return {"id_type": "01", "id_no": an_id_card(), "name": "欧阳·测试", "person_no": "P-1", "region": REGION,
            "insurance_type": "310", "valid_from": "2026-01-01"} | changes  # fmt: skip


def an_enrolment(**changes: Any) -> dict[str, Any]:
    """A policy of the same person."""
    return {"id_type": "01", "id_no": an_id_card(), "name": "欧阳·测试", "region": REGION, "product": "critical",
            "policy_no": "POL-1", "valid_from": "2026-01-01", "valid_until": "2026-12-31"} | changes  # fmt: skip


@dataclass
class Office:
    """Where uploads of a test come in."""

    hub: TestHub
    desk: MasterData

    @property
    def database(self) -> Engine:
        return self.hub.database

    def upload(
        self, transaction: Transaction, *rows: Mapping[str, Any], party: str = BASIC, request_no: str = "U-1"
    ) -> Taken:
        """One upload by message."""
        message = {"sender": party, "request_no": request_no, "rows": list(rows)}
        return self.desk.take(self.hub.inbound(transaction, message, party=party))

    def taken(self, transaction: Transaction, *rows: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """The answer to an upload that is taken."""
        done = self.upload(transaction, *rows, **changes)
        assert done.error is None, done.error
        assert done.answer is not None
        return dict(orjson.loads(done.answer))

    def versions(self, table: str, *columns: str, current: bool = True) -> list[tuple[Any, ...]]:
        """Columns with the days of each version, in the order of the days."""
        where = "WHERE replaced_by IS NULL" if current else ""
        chosen = ", ".join((*columns, "valid_from", "valid_until"))
        with self.database.connect() as connection:
            rows = connection.execute(text(f"SELECT {chosen} FROM {table} {where} ORDER BY {chosen}"))
            return [tuple(str(one) if isinstance(one, date) else one for one in row) for row in rows]


@contextmanager
def an_office(database_url: str, *rules: Mapping[str, Any], **book: Any) -> Iterator[Office]:
    """A hub that does nothing by itself, and its desk for master data."""
    with a_hub(database_url, *rules, running=False, parties=[BASIC_PARTY], **book) as hub:
        yield Office(hub, MasterData(hub.hub.work_units, hub.hub.books, hub.clock, SECRET))
