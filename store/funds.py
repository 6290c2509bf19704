"""Claims for advanced money: what they hold, how they are sampled, what was deducted. Whole fen.

Whoever changes claims of an institution holds the institution's lock until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, TextClause, text

from routing.funds import ClaimState, Part
from store.copying import copy_rows
from store.fund_figures import Scope, in_scope
from store.tables_funds import fund_claim_parts


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as it stands."""

    claim_no: int
    kind: str
    institution: str
    payer: str
    application_no: str
    first_day: date
    last_day: date
    region: str
    visit_kind: str
    insurance_type: str
    way: str
    state: ClaimState
    settlements: int
    total_fen: int
    amount_fen: int
    account_fen: int
    account_included: bool
    recognised_fen: int | None
    sample: Mapping[str, Any] | None
    deducted_fen: int
    withheld_basis_points: int
    withheld_fen: int
    payable_fen: int
    payment_no: str | None
    applied_by: str
    applied_at: datetime
    audit_action: int | None
    audited_at: datetime | None
    ended_at: datetime | None
    reason: str

    @property
    def cause(self) -> str:
        """How the ledger names it."""
        return f"claim/{self.claim_no}"

    @property
    def asked_fen(self) -> int:
        """What the payer is asked for, before deductions."""
        return self.amount_fen + (self.account_fen if self.account_included else 0)


_COLUMNS = ", ".join(Claim.__dataclass_fields__)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('fund/' || :institution, 0))")
_SEALED_TO = text("SELECT max(business_day) FROM day_seal")
_OWING = """
    SELECT DISTINCT e.payer FROM ledger_entry e
    WHERE {in_scope} AND e.payer <> '' AND (e.debit = 'receivable' OR e.credit = 'receivable'
        OR e.payer = ANY(CAST(:with_account AS text[])) AND (e.debit = 'personal' OR e.credit = 'personal'))
    ORDER BY e.payer"""
_ENTRIES = """ledger_entry e WHERE {in_scope} AND e.payer = :payer
    AND (e.debit = 'receivable' OR e.credit = 'receivable'
        OR :account_included AND (e.debit = 'personal' OR e.credit = 'personal'))"""
_CLAIMED = f"""
    SELECT DISTINCT i.claim_no FROM fund_claim_item i WHERE i.entry_id IN (SELECT e.entry_id FROM {_ENTRIES})
    ORDER BY i.claim_no"""
_ADD = text(f"""
    INSERT INTO fund_claim (kind, institution, payer, application_no, first_day, last_day, region, visit_kind,
        insurance_type, way, state, settlements, total_fen, amount_fen, account_fen, account_included, recognised_fen,
        applied_by, applied_at)
    VALUES (:kind, :institution, :payer, :application_no, :first, :last, :region, :visit_kind, :insurance_type, :way,
        'applied', :settlements, :total_fen, :amount_fen, :account_fen, :account_included, :recognised_fen, :by, :now)
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}""")
_SIGNED = "CASE WHEN e.debit = '{0}' THEN e.amount_fen WHEN e.credit = '{0}' THEN -e.amount_fen ELSE 0 END"
_ADD_ITEMS = f"""
    INSERT INTO fund_claim_item (entry_id, claim_no, case_id, leg_no, region, layer, product, amount_fen, account_fen)
    SELECT e.entry_id, :claim_no, e.case_id, e.leg_no, e.region, e.layer, e.product, {_SIGNED.format("receivable")},
        {_SIGNED.format("personal")}
    FROM {_ENTRIES}"""
_ADD_PARTS = text("""
    INSERT INTO fund_claim_part (claim_no, region, layer, product, amount_fen, account_fen)
    SELECT claim_no, region, layer, product, sum(amount_fen), sum(account_fen) FROM fund_claim_item
    WHERE claim_no = :claim_no GROUP BY claim_no, region, layer, product""")
_DROP_ITEMS = text("DELETE FROM fund_claim_item WHERE claim_no = :claim_no")
_DROP_DEDUCTIONS = text(
    "UPDATE fund_deduction SET taken_back_by = 'withdrawn' WHERE claim_no = :claim_no AND taken_back_by = ''"
)
_READ = text(f"SELECT {_COLUMNS} FROM fund_claim WHERE claim_no = :claim_no")
_HOLD = text(f"SELECT {_COLUMNS} FROM fund_claim WHERE claim_no = :claim_no FOR UPDATE")
_STANDING = text(f"""
    SELECT {_COLUMNS} FROM fund_claim WHERE (institution, payer, kind, first_day, last_day, region, visit_kind,
        insurance_type) = (:institution, :payer, :kind, :first, :last, :region, :visit_kind, :insurance_type)
        AND state <> 'withdrawn'""")
_OF_APPLICATION = text(
    f"SELECT {_COLUMNS} FROM fund_claim WHERE institution = :institution AND application_no = :application_no "
    "ORDER BY claim_no FOR UPDATE"
)
_AUDITED = text(
    f"SELECT {_COLUMNS} FROM fund_claim WHERE payer = :payer AND institution = :institution AND state = 'audited' "
    "ORDER BY claim_no FOR UPDATE"
)
_LISTED = text(f"""
    SELECT {_COLUMNS} FROM fund_claim
    WHERE (:institution = '' OR institution = :institution) AND (:payer = '' OR payer = :payer)
        AND (:state = '' OR state = :state) AND (:kind = '' OR kind = :kind)
        AND (:payment_no = '' OR payment_no = :payment_no)
        AND (CAST(:first AS date) IS NULL OR last_day >= :first) AND (CAST(:last AS date) IS NULL OR last_day <= :last)
    ORDER BY claim_no DESC LIMIT :limit""")
_PARTS = text(
    "SELECT region, layer, product, amount_fen, account_fen, deducted_fen, withheld_fen FROM fund_claim_part "
    "WHERE claim_no = ANY(:claim_nos) ORDER BY claim_no, region, layer, product"
)
_DROP_PARTS = text("DELETE FROM fund_claim_part WHERE claim_no = :claim_no")
_CLOSE = text("""
    UPDATE fund_claim SET state = 'audited', deducted_fen = :deducted_fen, withheld_fen = :withheld_fen,
        withheld_basis_points = :basis_points, payable_fen = :payable_fen, audit_action = :action, audited_at = :now
    WHERE claim_no = :claim_no""")
_MOVE = text("""
    UPDATE fund_claim SET state = :state, payment_no = :payment_no, reason = :reason, ended_at = :ended_at
    WHERE claim_no = ANY(:claim_nos)""")
_SAMPLED = text("UPDATE fund_claim SET sample = CAST(:sample AS jsonb) WHERE claim_no = :claim_no")


def _of(scope: Scope, statement: str) -> TextClause:
    return text(statement.format(in_scope=in_scope(scope)))


def lock(connection: Connection, institution: str) -> None:
    """One at a time applies, audits, orders and confirms for an institution; until the transaction ends."""
    connection.execute(_LOCK, {"institution": institution})


def sealed_to(connection: Connection) -> date | None:
    """The last sealed day; None when there is none. Nothing is added to it nor to any day before it."""
    found: date | None = connection.execute(_SEALED_TO).scalar_one()
    return found


def owing(connection: Connection, scope: Scope, with_account: Collection[str] = ()) -> list[str]:
    """The payers with shares booked in this scope; of those `with_account` personal accounts are enough."""
    values = scope.parameters() | {"with_account": list(with_account)}
    return list(connection.execute(_of(scope, _OWING), values).scalars())


def claimed_already(connection: Connection, scope: Scope, *, account_included: bool) -> list[int]:
    """The claims that hold entries of this scope."""
    values = scope.parameters() | {"account_included": account_included}
    return list(connection.execute(_of(scope, _CLAIMED), values).scalars())


def add(connection: Connection, scope: Scope, facts: Mapping[str, Any], *, kind: str = "month") -> Claim | None:
    """A new claim; None when one with the same key stands. `facts`: the other columns."""
    row = connection.execute(_ADD, scope.parameters() | {"kind": kind} | dict(facts)).first()
    return None if row is None else _claim(row)


def standing(connection: Connection, scope: Scope, *, kind: str = "month") -> Claim | None:
    """The claim for exactly this that was not taken back; None when there is none."""
    row = connection.execute(_STANDING, scope.parameters() | {"kind": kind}).first()
    return None if row is None else _claim(row)


def add_items(connection: Connection, claim_no: int, scope: Scope, *, account_included: bool) -> None:
    """Give the claim every entry of its scope, and its parts. IntegrityError one_claim_per_entry: one is taken."""
    values = scope.parameters() | {"account_included": account_included, "claim_no": claim_no}
    connection.execute(_of(scope, _ADD_ITEMS), values)
    connection.execute(_ADD_PARTS, {"claim_no": claim_no})


def read(connection: Connection, claim_no: int) -> Claim | None:
    """The claim; None when there is none."""
    row = connection.execute(_READ, {"claim_no": claim_no}).first()
    return None if row is None else _claim(row)


def hold(connection: Connection, claim_no: int) -> Claim | None:
    """The claim under its institution's lock and its own, until the transaction ends."""
    found = read(connection, claim_no)
    if found is None:
        return None
    lock(connection, found.institution)
    return _claim(connection.execute(_HOLD, {"claim_no": claim_no}).one())


def of_application(connection: Connection, institution: str, application_no: str) -> list[Claim]:
    """The claims of one application, held."""
    lock(connection, institution)
    given = {"institution": institution, "application_no": application_no}
    return [_claim(row) for row in connection.execute(_OF_APPLICATION, given)]


def audited(connection: Connection, payer: str, institution: str) -> list[Claim]:
    """The claims that wait to be paid, held."""
    lock(connection, institution)
    return [_claim(row) for row in connection.execute(_AUDITED, {"payer": payer, "institution": institution})]


def listed(
    connection: Connection,
    *,
    institution: str = "",
    payer: str = "",
    state: str = "",
    kind: str = "",
    payment_no: str = "",
    first: date | None = None,
    last: date | None = None,
    limit: int = 1_000,
) -> list[Claim]:
    """Claims whose last day lies in the period, the newest first."""
    values = {"institution": institution, "payer": payer, "state": state, "kind": kind, "payment_no": payment_no}
    rows = connection.execute(_LISTED, values | {"first": first, "last": last, "limit": limit})
    return [_claim(row) for row in rows]


def parts(connection: Connection, claim_nos: Iterable[int]) -> list[Part]:
    """The parts of these claims, claim by claim."""
    return [Part(**row._asdict()) for row in connection.execute(_PARTS, {"claim_nos": list(claim_nos)})]


def set_parts(connection: Connection, claim_no: int, new: Sequence[Part]) -> None:
    """Write the parts of a claim anew."""
    connection.execute(_DROP_PARTS, {"claim_no": claim_no})
    columns = ("region", "layer", "product", "amount_fen", "account_fen", "deducted_fen", "withheld_fen")
    rows = ((claim_no, *(getattr(one, name) for name in columns)) for one in new)
    copy_rows(connection, fund_claim_parts, ("claim_no", *columns), rows)


def close(
    connection: Connection, claim: Claim, found: Sequence[Part], *, basis_points: int, action: int, now: datetime
) -> None:
    """The audit is closed: write what the parts come to."""
    set_parts(connection, claim.claim_no, found)
    values = {
        "claim_no": claim.claim_no,
        "deducted_fen": sum(one.deducted_fen for one in found),
        "withheld_fen": sum(one.withheld_fen for one in found),
        "payable_fen": sum(one.share_fen + (one.account_fen if claim.account_included else 0) for one in found),
    }
    connection.execute(_CLOSE, values | {"basis_points": basis_points, "action": action, "now": now})


def move(
    connection: Connection,
    claims: Iterable[Claim],
    state: ClaimState,
    *,
    payment_no: str | None = None,
    ended_at: datetime | None = None,
    reason: str = "",
) -> None:
    """Set the state of claims, which the caller holds. A withdrawn one lets go of its entries and deductions."""
    numbers = [one.claim_no for one in claims]
    values = {"state": state.value, "payment_no": payment_no, "reason": reason, "ended_at": ended_at}
    connection.execute(_MOVE, values | {"claim_nos": numbers})
    if state is ClaimState.WITHDRAWN:
        for number in numbers:
            connection.execute(_DROP_ITEMS, {"claim_no": number})
            connection.execute(_DROP_DEDUCTIONS, {"claim_no": number})


def keep_sample(connection: Connection, claim_no: int, sample: Mapping[str, Any]) -> None:
    """Remember how the sample is drawn."""
    connection.execute(_SAMPLED, {"claim_no": claim_no, "sample": orjson.dumps(sample).decode()})


def _claim(row: Row[Any]) -> Claim:
    return Claim(**{**row._asdict(), "state": ClaimState(row.state)})
