"""The work that every peer does: three hops on a settlement request of about 2 KB, one table, one reply."""

from __future__ import annotations

import os

from pydantic import BaseModel

BROKER_URL = "BENCH_BROKER_URL"
DATABASE_URL = "BENCH_DATABASE_URL"
HOPS = ("bench.hop1", "bench.hop2", "bench.hop3")
REPLIES = "bench.replies"
QUORUM = {"x-queue-type": "quorum"}

SCHEMA = """
DROP TABLE IF EXISTS flow;
CREATE TABLE flow (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settlement_no text NOT NULL,
    visit_no text NOT NULL,
    total numeric(12, 2) NOT NULL,
    body jsonb NOT NULL,
    state smallint NOT NULL,
    reference text,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    settled_at timestamptz
);
CREATE INDEX flow_by_settlement_no ON flow (settlement_no);
"""
INSERT = "INSERT INTO flow (settlement_no, visit_no, total, body, state) VALUES (%s, %s, %s, %s, 1) RETURNING id"
MARK_SENT = "UPDATE flow SET state = 2, sent_at = clock_timestamp() WHERE id = %s"
MARK_SETTLED = "UPDATE flow SET state = 3, settled_at = clock_timestamp(), reference = %s WHERE id = %s"


class Patient(BaseModel):
    """Whose bill it is."""

    name: str
    id_type: str
    id_no: str
    sex: str
    birth_date: str


class Insurance(BaseModel):
    """Their scheme."""

    type: str
    person_no: str
    region: str


class Visit(BaseModel):
    """When and where."""

    visit_no: str
    kind: str
    medical_type: str
    started_at: str
    department: str


class Diagnosis(BaseModel):
    """What for."""

    code: str
    name: str
    main: bool


class FeeLine(BaseModel):
    """One line of the bill."""

    line_no: str
    item_code: str
    item_name: str
    category: str
    level: str
    price: str
    quantity: str
    amount: str
    occurred_on: str


class Request(BaseModel):
    """A settlement request as a user of a plain framework would model it: types only, no checks of content."""

    schema_version: str
    institution: str
    settlement_no: str
    region: str
    patient: Patient
    insurance: Insurance
    visit: Visit
    diagnoses: list[Diagnosis]
    fees: list[FeeLine]
    total: str
    row_id: int = 0


def reference(row_id: int) -> str:
    """The number that the last hop gives."""
    return f"S{row_id:012d}"


def reply(settled: Request) -> dict[str, str]:
    """What the last hop answers."""
    return {"settlement_no": settled.settlement_no, "reference": reference(settled.row_id)}


def broker_url() -> str:
    """Where a peer's worker process finds the broker."""
    return os.environ[BROKER_URL]


def database_url() -> str:
    """Where a peer's worker process finds the database (as libpq wants it)."""
    return os.environ[DATABASE_URL]
