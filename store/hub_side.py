"""The hub's own books of a party's day: what is held against the party's statement, and what is sent as ours.

A payer's books are compared share by share, an institution's settlement by settlement or, where its statement names the
payers, share by share as well. Only what settlements and their undoing booked counts, and corrections count to the day
of the difference that they end; payments and deductions are other books. Whole fen, refunds below zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from routing.schemes import Scheme
from store.case_facts import INSURANCE_TYPE

KINDS = "('settle', 'late_approval', 'cancel', 'reversal', 'opening')"
"""What settlements book themselves."""
CHUNK = 5_000

_INSURED = (
    f"EXISTS (SELECT 1 FROM settlement_case c WHERE c.case_id = e.case_id AND {INSURANCE_TYPE} = ANY(:insurance_types))"
)


@dataclass(frozen=True, slots=True)
class HubSide:
    """Which of our books: a party's, by its scheme, of one day.

    `institutions`: those of the scheme's regions, where it clears by the institution's (`body`). `by_payer`: an
    institution's books share by share; a payer's always are.
    """

    scheme: Scheme
    kind: Literal["payer", "institution"]
    day: date
    institutions: tuple[str, ...] | None = None
    by_payer: bool = False

    @property
    def whole(self) -> bool:
        """One item is a settlement as a whole, not one payer's share of it."""
        return self.kind == "institution" and not self.by_payer

    @property
    def day_of_entry(self) -> str:
        """SQL for the day that an entry `e` is on.

        An institution has a settlement on the one day on which the hub told it, however late in the night each of its
        payers decided: that is the day of the case.
        """
        if self.scheme.day == "business":
            return "e.business_day"
        if self.kind == "payer":
            return "e.effective_day"
        return "CASE WHEN e.kind = 'settle' THEN e.business_day ELSE e.effective_day END"

    @property
    def on_day(self) -> str:
        """SQL that an entry `e` is on this day, in words that the indexes know."""
        if self.scheme.day == "settlement" and self.kind == "institution":
            return "(e.kind = 'settle' AND e.business_day = :day OR e.kind <> 'settle' AND e.effective_day = :day)"
        return f"{self.day_of_entry} = :day"

    @property
    def on_near_days(self) -> str:
        """SQL that an entry `e` lies between `:first_day` and `:last_day`."""
        span = "BETWEEN :first_day AND :last_day"
        if self.scheme.day == "settlement" and self.kind == "institution":
            return f"(e.kind = 'settle' AND e.business_day {span} OR e.kind <> 'settle' AND e.effective_day {span})"
        return f"{self.day_of_entry} {span}"

    @property
    def belongs(self) -> str:
        """SQL that an entry `e` belongs to these books, on whatever day."""
        wanted = [f"e.{'payer' if self.kind == 'payer' else 'institution'} = :party", f"e.kind IN {KINDS}"]
        if not self.whole:
            wanted.append("e.leg_no > 0 AND 'hospital' NOT IN (e.debit, e.credit)")
        if self.scheme.regions is not None:
            by_person = self.scheme.body == "insured"
            wanted.append("e.region = ANY(:regions)" if by_person else "e.institution = ANY(:institutions)")
        if self.scheme.insurance_types is not None:
            wanted.append(_INSURED)
        return " AND ".join(wanted)

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of `on_day` and `belongs`."""
        scheme = self.scheme
        return {
            "party": scheme.party,
            "scheme": scheme.code,
            "day": self.day,
            "first_day": self.day - timedelta(days=scheme.cut_off_days),
            "last_day": self.day + timedelta(days=scheme.cut_off_days),
            "regions": sorted(scheme.regions or ()),
            "institutions": sorted(self.institutions or ()),
            "insurance_types": sorted(scheme.insurance_types or ()),
        }


SETTLES = "(e.credit = 'charges' OR e.credit = 'patient' AND e.debit <> 'charges')"
"""That an entry `e` is of a settlement, and not of its undoing."""


def _fen(account: str, settles: bool) -> str:
    """SQL for the sum of one account's entries `e`, of settlements or (below zero) of their undoing."""
    column = "debit" if settles is not (account == "charges") else "credit"
    sign = "" if settles else "-"
    return f"{sign}pg_temp.fen_sum(e.amount_fen) FILTER (WHERE e.{column} = '{account}')"


def _times(settles: bool) -> str:
    """SQL for how often the entries `e` settle, or undo: what is on two accounts is booked once."""
    column = "debit" if settles else "credit"
    bill = "e.credit = 'charges'" if settles else "e.debit = 'charges'"
    counts = [f"count(*) FILTER (WHERE e.{column} = '{account}')" for account in ("receivable", "personal")]
    return f"greatest({', '.join(counts)}, count(*) FILTER (WHERE {bill}))"


# The database's own sum() of whole numbers keeps a number of any length for each item: half of a run's time.
_ADD_UP = """
CREATE OR REPLACE AGGREGATE pg_temp.fen_sum(bigint) (
    SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE)
"""


_CASH = (
    "pg_temp.fen_sum(e.amount_fen) FILTER (WHERE e.debit = 'patient') "
    "- pg_temp.fen_sum(e.amount_fen) FILTER (WHERE e.credit = 'patient')"
)
"""SQL for what the entries `e` leave to the patient."""


def _sums(*, totals: bool) -> str:
    """SQL for what the entries `e` of an item come to; without `totals` its bill is left at 0."""
    columns = {"": "receivable", "account_": "personal", "total_": "charges"}
    parts = [
        f"{_fen(account, settles) if totals or account != 'charges' else '0::bigint'} AS {prefix}{name}_fen"
        for prefix, account in columns.items()
        for name, settles in (("settled", True), ("refunded", False))
    ]
    return ", ".join(parts)


_CORRECTIONS = """
CREATE TEMP TABLE recon_correction ON COMMIT DROP AS
SELECT b.key, b.case_id, b.leg_no, min(b.institution) AS institution, min(b.payer) AS payer,
    (coalesce(sum(e.amount_fen) FILTER (WHERE e.debit = 'receivable'), 0)
        - coalesce(sum(e.amount_fen) FILTER (WHERE e.credit = 'receivable'), 0))::bigint AS fen,
    (coalesce(sum(e.amount_fen) FILTER (WHERE e.debit = 'personal'), 0)
        - coalesce(sum(e.amount_fen) FILTER (WHERE e.credit = 'personal'), 0))::bigint AS account_fen
FROM recon_run r JOIN recon_break b USING (run_id)
JOIN ledger_entry e ON e.cause <> '' AND e.cause = 'break/' || b.break_id
WHERE r.party = :party AND r.scheme = :scheme AND r.day = :day AND e.kind = 'correction'
GROUP BY b.key, b.case_id, b.leg_no
"""
# A difference that was written up where nothing was booked is a settlement from then on.
_CORRECTED = """
UPDATE recon_hub h SET settled_fen = h.settled_fen + c.fen, corrected = true,
    account_settled_fen = h.account_settled_fen + c.account_fen, settlements = greatest(h.settlements, 1)
FROM recon_correction c WHERE h.case_id = c.case_id AND h.leg_no = c.leg_no
"""
_NEWLY_THERE = """
INSERT INTO recon_hub (key, case_id, leg_no, institution, payer, settlements, refunds, settled_fen, refunded_fen,
    account_settled_fen, account_refunded_fen, total_settled_fen, total_refunded_fen, by_cancel, late, corrected,
    cash_fen)
SELECT replace(c.case_id::text, '-', '') || '-' || c.leg_no, c.case_id, c.leg_no, c.institution, c.payer, 1, 0,
    c.fen, 0, c.account_fen, 0, 0, 0, false, false, true, 0
FROM recon_correction c
WHERE c.case_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM recon_hub h WHERE h.case_id = c.case_id AND h.leg_no = c.leg_no)
"""


def stage(connection: Connection, side: HubSide, *, cash: bool = False) -> None:
    """Our books of the day as the temporary table `recon_hub`, one row per item, and `recon_correction`.

    An item's `key` is the request that its payer was sent; of a settlement as a whole it ends with -0. Both tables are
    gone with the transaction. A correction without a case of ours is only in the latter, by its break's key. `cash`: of
    settlements as wholes with what was left to patients, else that is 0.
    """
    leg, payer = ("0::smallint", "''") if side.whole else ("e.leg_no", "e.payer")
    group = "e.case_id, e.institution" if side.whole else "e.case_id, e.leg_no, e.institution, e.payer"
    connection.execute(text(_ADD_UP))
    connection.execute(
        text(f"""
        CREATE TEMP TABLE recon_hub ON COMMIT DROP AS
        SELECT replace(e.case_id::text, '-', '') || '-' || {leg} AS key, e.case_id, {leg} AS leg_no, e.institution,
            {payer} AS payer, {_times(True)} AS settlements, {_times(False)} AS refunds, {_sums(totals=side.whole)},
            bool_or(e.kind = 'cancel') AS by_cancel, bool_or(e.kind = 'late_approval') AS late, false AS corrected,
            {_CASH if cash and side.whole else "0::bigint"} AS cash_fen
        FROM ledger_entry e WHERE {side.on_day} AND {side.belongs} GROUP BY {group}"""),
        side.values,
    )
    connection.execute(text(_CORRECTIONS), side.values)
    if connection.execute(text("SELECT EXISTS (SELECT 1 FROM recon_correction)")).scalar_one():
        connection.execute(text(_CORRECTED))
        connection.execute(text(_NEWLY_THERE))


class HubLine(NamedTuple):
    """One settlement or refund of our books, shaped as `schemas.statement.StatementLine`; whole fen, '' for unknown."""

    kind: str
    institution: str
    settlement_no: str
    payer: str
    request_id: str
    reference: str
    total: int
    amount: int
    account: int
    cash: int
    at: datetime | None


def lines(connection: Connection, side: HubSide) -> Iterator[HubLine]:
    """Our books as lines of a statement, institution by institution; read from the server in pieces.

    What the scheme says about refunds and about the personal account holds for them too, so that the party can lay
    them beside its own. Corrections are not in them: they are about the party's lines.
    """
    query = _whole_lines(side) if side.whole else _share_lines(side)
    # Of the statement, not of the connection: what else the caller asks is no cursor.
    streamed = text(query).execution_options(stream_results=True, max_row_buffer=CHUNK)
    for row in connection.execute(streamed, side.values):
        yield HubLine(*row)


_AT = "CASE WHEN CAST(f.posted_at AT TIME ZONE 'Asia/Shanghai' AS date) = :day THEN f.posted_at END"


def _share_lines(side: HubSide) -> str:
    in_fund = side.scheme.account == "in_fund"
    amount, account = ("f.amount + f.account", "0::bigint") if in_fund else ("f.amount", "f.account")
    payer = "''" if side.kind == "payer" else "f.payer"
    return f"""
        SELECT CASE WHEN f.settles THEN 'settle' ELSE 'refund' END, f.institution, c.settlement_no, {payer},
            replace(f.case_id::text, '-', '') || '-' || f.leg_no, coalesce(l.payer_reference, ''), 0::bigint, {amount},
            {account}, 0::bigint, {_AT}
        FROM ({_events(side, "e.leg_no, e.payer")}) f
        JOIN settlement_case c USING (case_id) JOIN settlement_leg l USING (case_id, leg_no)
        {_pairs_left_out(side, "AND o.leg_no = f.leg_no")}
        ORDER BY f.institution, c.settlement_no, f.leg_no, f.settles DESC"""


def _whole_lines(side: HubSide) -> str:
    in_fund = side.scheme.account == "in_fund"
    amount, account = ("f.amount + f.account", "0::bigint") if in_fund else ("f.amount", "f.account")
    return f"""
        SELECT CASE WHEN f.settles THEN 'settle' ELSE 'refund' END, f.institution, c.settlement_no, '', '', '',
            f.total, {amount}, {account}, f.total - f.amount - f.account - f.hospital, {_AT}
        FROM ({_events(side, "CASE WHEN e.kind = 'late_approval' THEN 1 ELSE 0 END")}) f
        JOIN settlement_case c USING (case_id)
        {_pairs_left_out(side, "")}
        ORDER BY f.institution, c.settlement_no, f.settles DESC, f.total DESC"""


def _events(side: HubSide, apart: str) -> str:
    """SQL for one row per settlement and per refund. `apart`: what else is a row of its own."""
    leg = "" if side.whole else "e.leg_no, e.payer, "
    sign = f"(CASE WHEN {SETTLES} THEN 1 ELSE -1 END)"

    def of(account: str) -> str:
        return f"coalesce({sign} * sum(e.amount_fen) FILTER (WHERE '{account}' IN (e.debit, e.credit)), 0)::bigint"

    return f"""
        SELECT e.case_id, {leg}e.institution, {SETTLES} AS settles, {of("charges")} AS total,
            {of("receivable")} AS amount, {of("personal")} AS account, {of("hospital")} AS hospital,
            min(e.posted_at) AS posted_at
        FROM ledger_entry e WHERE {side.on_day} AND {side.belongs}
        GROUP BY e.case_id, e.institution, {SETTLES}, {apart}"""


def _pairs_left_out(side: HubSide, same: str) -> str:
    """SQL that leaves out what was settled and undone on this day, where the scheme says so."""
    if side.scheme.refunds == "counted":
        return ""
    leg = "" if side.whole else "e.leg_no, e.payer"
    events = _events(side, leg or "0::int")
    return f"""
        WHERE NOT EXISTS (SELECT 1 FROM ({events}) o WHERE o.case_id = f.case_id {same} AND o.settles <> f.settles
            AND o.amount = -f.amount AND o.account = -f.account)"""


def institutions_of(scheme: Scheme, regions: Sequence[tuple[str, str]]) -> tuple[str, ...] | None:
    """The institutions of the scheme's regions, out of (code, region) of all; None where it does not ask for them."""
    if scheme.regions is None or scheme.body != "institution":
        return None
    return tuple(sorted(code for code, region in regions if region in scheme.regions))
