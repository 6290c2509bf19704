"""Claims of hosted products and their accumulators: what a person has used up is the sum of the claims that stand.

Locks are taken in one order, so that nobody waits in a circle: a person's accumulators first (all claims of one person
in one product pass one by one), then the claim.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection

from routing.hosted import NOTHING_USED, Use, Used
from store.driver import Prepared
from store.rows import as_json, insert_rows
from store.tables_hosted import claims

LIFE = 0
"""The "year" of the accumulator that counts everything a person ever had of a product, under whatever policy."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose accumulators: those of a benefit year under a policy (empty for a product without), beside the life's."""

    product: str
    person_key: str
    policy_no: str
    year: int


@dataclass(frozen=True, slots=True)
class HostedClaim:
    """One claim as it stands. `answer` is what was said when it came; a blocked one has none and belongs to nobody."""

    request_id: str
    region: str
    case_id: str
    party: str
    account: Account
    service_day: date | None
    rulebook_version: int
    state: str
    answer: bytes
    settled_at: datetime
    use: Use = NOTHING_USED
    undone_at: datetime | None = None
    undo_request_id: str = ""


_COLUMNS = tuple(column.name for column in claims.columns)
_ADD = insert_rows(claims, _COLUMNS, unless="hosted_claim_pk", returning=("request_id",))
_READ = Prepared(f"SELECT {', '.join(_COLUMNS)} FROM hosted_claim WHERE request_id = $1", "text")
_UNDO = Prepared(
    "UPDATE hosted_claim SET state = $3, undone_at = $4, undo_request_id = $5 "
    "WHERE request_id = $1 AND state = $2 RETURNING request_id",
    *("text", "text", "text", "timestamptz", "text"),
)
_FIGURES = "year, deductible_fen, counted_fen, paid_fen"
# The life's row comes first: whoever has it is alone with this person and product, also at the turn of a year.
_LOCK = Prepared(
    "INSERT INTO accumulator AS a (product, person_key, policy_no, year, changed_at) "
    f"VALUES ($1, $2, '', {LIFE}, $5), ($1, $2, $3, $4, $5) "
    f"ON CONFLICT ON CONSTRAINT accumulator_pk DO UPDATE SET changed_at = a.changed_at RETURNING {_FIGURES}",
    *("text", "text", "text", "int", "timestamptz"),
)
_OF = f"product = $1 AND person_key = $2 AND ((policy_no = '' AND year = {LIFE}) OR (policy_no = $3 AND year = $4))"
_USED = Prepared(f"SELECT {_FIGURES} FROM accumulator WHERE {_OF}", "text", "text", "text", "int")
_CHANGE = Prepared(
    "UPDATE accumulator SET visits = visits + $5, deductible_fen = deductible_fen + $6, "
    f"counted_fen = counted_fen + $7, paid_fen = paid_fen + $8, changed_at = $9 WHERE {_OF}",
    *("text", "text", "text", "int", "int", "bigint", "bigint", "bigint", "timestamptz"),
)
_WITHIN = Prepared("SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $1, true)", "text")
_POLICY = Prepared(
    "SELECT valid_from FROM coverage WHERE person_key = $1 AND product = $2 AND ($3 = '' OR policy_no = $3) "
    "AND valid_from <= $4 AND (valid_until IS NULL OR valid_until >= $4) ORDER BY valid_from LIMIT 1",
    *("text", "text", "text", "date"),
)


def within(connection: Connection, seconds: float) -> None:
    """No statement of this transaction, and no wait for a lock, takes longer."""
    _WITHIN.rows(connection, str(max(1, int(seconds * 1000))))


def read(connection: Connection, request_id: str) -> HostedClaim | None:
    """The claim under this id."""
    rows = _READ.rows(connection, request_id)
    if not rows:
        return None
    found = dict(zip(_COLUMNS, rows[0], strict=True))
    return HostedClaim(
        request_id=found["request_id"],
        region=found["region"],
        case_id=str(found["case_id"]),
        party=found["party"],
        account=Account(found["product"], found["person_key"], found["policy_no"], found["year"]),
        service_day=found["service_day"],
        rulebook_version=found["rulebook_version"],
        state=found["state"],
        answer=bytes(found["answer"]),
        settled_at=found["settled_at"],
        use=Use(found["deductible_fen"], found["counted_fen"], found["amount_fen"]),
        undone_at=found["undone_at"],
        undo_request_id=found["undo_request_id"],
    )


def policy_from(connection: Connection, account: Account, day: date) -> date | None:
    """When the person's policy that holds on this day began; of several without a number, the oldest."""
    rows = _POLICY.rows(connection, account.person_key, account.product, account.policy_no, day)
    return rows[0][0] if rows else None


def used(connection: Connection, account: Account) -> Used:
    """What standing claims have used up; for a trial, which waits for nobody."""
    return _used(_USED.rows(connection, account.product, account.person_key, account.policy_no, account.year))


def lock(connection: Connection, account: Account, at: datetime) -> Used:
    """The same, held until the transaction ends; waits for whoever holds it."""
    return _used(_LOCK.rows(connection, account.product, account.person_key, account.policy_no, account.year, at))


def _used(rows: list[tuple[int, int, int, int]]) -> Used:
    found = Used()
    for year, deductible_fen, counted_fen, paid_fen in rows:
        if year == LIFE:
            found = replace(found, paid_in_life_fen=paid_fen)
        else:
            found = Used(deductible_fen, counted_fen, paid_fen, found.paid_in_life_fen)
    return found


def add(connection: Connection, claim: HostedClaim) -> bool:
    """Store a claim under accumulators that are locked; False when its id is taken, then nothing is changed."""
    row = {
        "request_id": claim.request_id,
        "region": claim.region,
        "case_id": claim.case_id,
        "party": claim.party,
        "product": claim.account.product,
        "person_key": claim.account.person_key,
        "policy_no": claim.account.policy_no,
        "year": claim.account.year,
        "service_day": claim.service_day,
        "rulebook_version": claim.rulebook_version,
        "state": claim.state,
        "amount_fen": claim.use.paid_fen,
        "deductible_fen": claim.use.deductible_fen,
        "counted_fen": claim.use.counted_fen,
        "answer": claim.answer,
        "settled_at": claim.settled_at,
        "undone_at": claim.undone_at,
        "undo_request_id": claim.undo_request_id,
    }
    if not _ADD.rows(connection, as_json([row])):
        return False
    if claim.state == "approved":
        _change(connection, claim.account, claim.use, 1, claim.settled_at)
    return True


def undo(connection: Connection, claim: HostedClaim, state: str, undo_request_id: str, at: datetime) -> bool:
    """Move a claim from the state it was read in to cancelled or blocked; False when somebody else moved it.

    The accumulators give back exactly what this claim used up. Claims after it keep what they were paid.
    """
    if claim.state == "approved":
        lock(connection, claim.account, at)
    if not _UNDO.rows(connection, claim.request_id, claim.state, state, at, undo_request_id):
        return False
    if claim.state == "approved":
        _change(connection, claim.account, claim.use, -1, at)
    return True


def _change(connection: Connection, account: Account, use: Use, sign: int, at: datetime) -> None:
    _CHANGE.count(
        connection,
        *(account.product, account.person_key, account.policy_no, account.year),
        *(sign, sign * use.deductible_fen, sign * use.counted_fen, sign * use.paid_fen, at),
    )
