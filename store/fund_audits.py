"""Audits of claims: samples that anybody can draw again, and deductions per settlement. Whole fen.

A settlement of a claim is one payer's share of one case: everything that the claim holds of it, taken together. A claim
of a year holds nothing itself; its settlements are those of the months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from store.funds import Claim

# A hash of the seed and the settlement decides the order: no state, no clock, no luck of the planner.
_HELD_IF = """SELECT i.case_id, i.leg_no, min(i.region) AS region, min(i.layer) AS layer, min(i.product) AS product,
        CAST(sum(i.amount_fen) AS bigint) AS amount_fen
    FROM fund_claim_item i
    WHERE i.case_id IS NOT NULL AND (i.claim_no = :claim_no OR :kind = 'year' AND i.claim_no IN (
        SELECT m.claim_no FROM fund_claim m
        WHERE m.kind = 'month' AND m.institution = :institution AND m.payer = :payer AND m.state <> 'withdrawn'
            AND m.last_day BETWEEN :first_day AND :last_day)) {0}
    GROUP BY i.case_id, i.leg_no"""
_HELD = _HELD_IF.format("")
_HELD_OF_ONE = _HELD_IF.format(
    "AND i.case_id IN (SELECT c.case_id FROM settlement_case c WHERE c.institution = :institution "
    "AND c.case_key = :settlement_no AND c.purpose = 'settle')"
)
_POPULATION = text(f"SELECT count(*) FROM ({_HELD}) AS held WHERE amount_fen > 0")
_DRAW = text(f"""
    SELECT c.settlement_no, CAST(held.case_id AS text) AS case_id, held.leg_no, held.product, held.amount_fen
    FROM ({_HELD}) AS held JOIN settlement_case c ON c.case_id = held.case_id
    WHERE held.amount_fen > 0
    ORDER BY sha256(convert_to(:seed || '/' || held.case_id || '/' || held.leg_no, 'UTF8')) LIMIT :size""")
# What stands of a share in the whole ledger, whatever has become of it since it was claimed.
_BOOKED = """SELECT coalesce(sum(CASE WHEN e.debit = 'receivable' THEN e.amount_fen
        WHEN e.credit = 'receivable' THEN -e.amount_fen END), 0) AS fen
    FROM ledger_entry e WHERE e.case_id = held.case_id AND e.leg_no = held.leg_no
        AND e.kind NOT IN ('deduction', 'payment', 'confirmation', 'repayment')"""
_DEDUCTED = """SELECT coalesce(sum(d.amount_fen), 0) AS fen FROM fund_deduction d
    WHERE d.case_id = held.case_id AND d.leg_no = held.leg_no AND d.taken_back_by = ''"""
# What is only noted in an open audit was not deducted yet: nothing of it can be given back.
_DEDUCTED_AND_BOOKED = f"""{_DEDUCTED} AND d.claim_no IN (
        SELECT f.claim_no FROM fund_claim f WHERE f.state IN ('audited', 'ordered', 'paid'))"""
_SHARES = text(f"""
    SELECT CAST(held.case_id AS text) AS case_id, held.leg_no, held.region, held.layer, held.product, held.amount_fen,
        CAST(least(held.amount_fen, booked.fen) - deducted.fen AS bigint) AS left_fen
    FROM ({_HELD_OF_ONE}) AS held
    CROSS JOIN LATERAL ({_BOOKED}) AS booked CROSS JOIN LATERAL ({_DEDUCTED}) AS deducted
    WHERE held.amount_fen > 0 ORDER BY held.leg_no""")
_EXCESSIVE = text(f"""
    SELECT DISTINCT d.settlement_no
    FROM fund_deduction d
    CROSS JOIN LATERAL (SELECT d.case_id, d.leg_no) AS held
    CROSS JOIN LATERAL ({_BOOKED}) AS booked CROSS JOIN LATERAL ({_DEDUCTED}) AS deducted
    WHERE d.claim_no = :claim_no AND d.case_id IS NOT NULL AND d.taken_back_by = '' AND d.amount_fen > 0
        AND deducted.fen > greatest(booked.fen, 0)
    ORDER BY d.settlement_no""")
_GIVE_BACK = text(f"""
    INSERT INTO fund_deduction (claim_no, case_id, leg_no, settlement_no, region, layer, product, amount_fen, code,
        reason, made_by, made_at)
    SELECT :claim_no, held.case_id, held.leg_no, c.settlement_no, held.region, held.layer, held.product,
        greatest(booked.fen, 0) - deducted.fen, 'undone', 'the settlement was undone after the deduction', :by, :now
    FROM ({_HELD}) AS held JOIN settlement_case c ON c.case_id = held.case_id
    CROSS JOIN LATERAL ({_BOOKED}) AS booked CROSS JOIN LATERAL ({_DEDUCTED_AND_BOOKED}) AS deducted
    WHERE held.amount_fen < 0 AND deducted.fen > greatest(booked.fen, 0)""")
_ADD = text("""
    INSERT INTO fund_deduction (claim_no, case_id, leg_no, settlement_no, region, layer, product, amount_fen, code,
        reason, made_by, made_at, request_no, request_row)
    VALUES (:claim_no, CAST(:case_id AS uuid), :leg_no, :settlement_no, :region, :layer, :product, :amount_fen, :code,
        :reason, :by, :now, :request_no, :request_row) RETURNING deduction_id""")
_REQUESTED = text("""
    SELECT request_row, deduction_id, taken_back_by <> '' AS taken_back FROM fund_deduction
    WHERE claim_no = :claim_no AND request_no = :request_no AND request_row <> '' ORDER BY deduction_id""")
_TAKE_BACK = text(
    "UPDATE fund_deduction SET taken_back_by = :by WHERE deduction_id = :deduction_id AND claim_no = :claim_no "
    "AND taken_back_by = '' AND amount_fen > 0"
)
_OF_CLAIM = text("""
    SELECT deduction_id, CAST(case_id AS text) AS case_id, leg_no, settlement_no, region, layer, product, amount_fen,
        code, reason, made_by, made_at
    FROM fund_deduction WHERE claim_no = :claim_no AND taken_back_by = '' ORDER BY deduction_id""")


@dataclass(frozen=True, slots=True)
class Share:
    """One settlement of a claim that may be deducted from; `left_fen` is how much."""

    case_id: str
    leg_no: int
    region: str
    layer: str
    product: str
    amount_fen: int
    left_fen: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """One settlement of a sample."""

    settlement_no: str
    case_id: str
    leg_no: int
    product: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Deduction:
    """One deduction that stands; below zero for what is given back. `case_id` None: of the claim as a whole."""

    deduction_id: int
    case_id: str | None
    leg_no: int | None
    settlement_no: str
    region: str
    layer: str
    product: str
    amount_fen: int
    code: str
    reason: str
    made_by: str
    made_at: datetime


def population(connection: Connection, claim: Claim) -> int:
    """How many settlements of the claim a sample can be drawn from."""
    return int(connection.execute(_POPULATION, _which(claim)).scalar_one())


def draw(connection: Connection, claim: Claim, seed: str, size: int) -> list[Sampled]:
    """The sample of this seed: the same each time, whoever draws it."""
    rows = connection.execute(_DRAW, _which(claim) | {"seed": seed, "size": size})
    return [Sampled(**row._asdict()) for row in rows]


def shares(connection: Connection, claim: Claim, settlement_no: str) -> list[Share]:
    """The payer's shares of one settlement that the claim holds; two where it pays by two products."""
    return [_share(row) for row in connection.execute(_SHARES, _which(claim) | {"settlement_no": settlement_no})]


def excessive(connection: Connection, claim: Claim) -> list[str]:
    """The settlements of which more is deducted than stands now: undone since, in a day that is not claimed yet."""
    return list(connection.execute(_EXCESSIVE, {"claim_no": claim.claim_no}).scalars())


def give_back(connection: Connection, claim: Claim, *, by: str, now: datetime) -> int:
    """Take back deductions from settlements that this claim says are undone; how many."""
    return connection.execute(_GIVE_BACK, _which(claim) | {"by": by, "now": now}).rowcount


def add(
    connection: Connection,
    claim_no: int,
    share: Share | None,
    settlement_no: str,
    amount_fen: int,
    *,
    code: str,
    reason: str,
    by: str,
    now: datetime,
    request_no: str,
    request_row: str,
) -> int:
    """A deduction, from a share or from the claim as a whole; its number."""
    values: dict[str, Any] = {"case_id": None, "leg_no": None, "region": "", "layer": "", "product": ""}
    if share is not None:
        values = {name: getattr(share, name) for name in values}
    values |= {"claim_no": claim_no, "settlement_no": settlement_no, "amount_fen": amount_fen}
    values |= {"request_no": request_no, "request_row": request_row}
    return int(connection.execute(_ADD, values | {"code": code, "reason": reason, "by": by, "now": now}).scalar_one())


@dataclass(frozen=True, slots=True)
class Requested:
    """One deduction as it was asked for; `row` as `add` was given it."""

    row: str
    deduction_id: int
    taken_back: bool


def requested(connection: Connection, claim_no: int, request_no: str) -> list[Requested]:
    """What was deducted from a claim under a request number, or under none; also what was taken back since."""
    rows = connection.execute(_REQUESTED, {"claim_no": claim_no, "request_no": request_no})
    return [Requested(*row) for row in rows]


def take_back(connection: Connection, claim_no: int, deduction_id: int, by: str) -> bool:
    """Undo a deduction of an open audit; False when there is none that stands."""
    values = {"claim_no": claim_no, "deduction_id": deduction_id, "by": by}
    return connection.execute(_TAKE_BACK, values).rowcount == 1


def of_claim(connection: Connection, claim_no: int) -> list[Deduction]:
    """The deductions of a claim that stand, in their order."""
    return [Deduction(**row._asdict()) for row in connection.execute(_OF_CLAIM, {"claim_no": claim_no})]


def _which(claim: Claim) -> dict[str, Any]:
    names = ("claim_no", "kind", "institution", "payer", "first_day", "last_day")
    return {name: getattr(claim, name) for name in names}


def _share(row: Row[Any]) -> Share:
    return Share(**row._asdict())
