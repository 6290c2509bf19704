"""What the ledger says about the money between institutions and payers: totals by day; advanced, settled, still owed.

Days are those in whose books an entry counts. What was paid or deducted is named by the last day of the claim that it
belongs to, so that a period's figures do not depend on when its money moved. Whole fen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from store import fund_totals
from store.case_facts import INSURANCE_TYPE, VISIT_KIND
from store.fund_totals import ADVANCING
from store.ledger import GROUPINGS

_LIFE = "('settle', 'late_approval', 'cancel', 'reversal', 'opening')"
_FREE_CHOICE = text(
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; "
    "SET LOCAL plan_cache_mode = auto; SET LOCAL statement_timeout = '60s'"
)


def read_whole_periods(connection: Connection) -> None:
    """For the rest of this transaction: statements that read a month, not a case, and may take their time."""
    connection.execute(_FREE_CHOICE)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which entries are meant; what is empty or None is no condition."""

    institution: str
    first: date
    last: date
    payer: str | None = None
    region: str = ""
    visit_kind: str = ""
    insurance_type: str = ""

    def parameters(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Sums:
    """Totals, each less what was undone: bills and their sum, payers' shares, personal accounts, cash."""

    count: int = 0
    total_fen: int = 0
    paid_fen: int = 0
    account_fen: int = 0
    cash_fen: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def _moved(account: str, kinds: str = "") -> str:
    """The sum on an account, debit less credit."""
    only = f"kind IN {kinds} AND " if kinds else ""
    return (
        f"coalesce(sum(CASE WHEN {only}debit = '{account}' THEN amount_fen "
        f"WHEN {only}credit = '{account}' THEN -amount_fen END), 0)"
    )


_SCOPE = f"""e.institution = :institution AND e.business_day BETWEEN :first AND :last AND e.kind IN {ADVANCING}
    AND (:region = '' OR e.region = :region)"""


def in_scope(scope: Scope) -> str:
    """A condition on `ledger_entry e` by the scope's parameters, without its payer."""
    wanted = []
    # Said only where it is asked: a condition that might not hold cannot be a join.
    if scope.visit_kind:
        wanted.append(f"{VISIT_KIND} = :visit_kind")
    if scope.insurance_type:
        wanted.append(f"{INSURANCE_TYPE} = :insurance_type")
    if not wanted:
        return _SCOPE
    facts = " AND ".join(wanted)
    cases = f"SELECT c.case_id FROM settlement_case c WHERE c.institution = :institution AND {facts}"
    return f"{_SCOPE} AND e.case_id IN ({cases})"


_BY_DAY = f"""
    SELECT business_day, sum(bills), sum(total), sum(paid), sum(account),
        sum(CASE WHEN CAST(:payer AS text) IS NULL THEN cash ELSE total - borne END)
    FROM (
        SELECT e.business_day, {_moved("receivable")} AS paid, {_moved("personal")} AS account,
            -{_moved("charges")} AS total, {_moved("patient")} AS cash,
            {_moved("receivable", _LIFE)} + {_moved("personal", _LIFE)} + {_moved("hospital", _LIFE)} AS borne,
            count(*) FILTER (WHERE e.leg_no = 0 AND e.debit = 'patient')
                - count(*) FILTER (WHERE e.leg_no = 0 AND e.credit = 'patient') AS bills
        FROM ledger_entry e
        WHERE {{in_scope}} AND (CAST(:payer AS text) IS NULL OR e.payer IN ('', :payer))
        GROUP BY e.business_day, e.case_id
    ) AS by_case
    WHERE CAST(:payer AS text) IS NULL OR paid <> 0 OR account <> 0
    GROUP BY business_day ORDER BY business_day"""


def by_day(connection: Connection, scope: Scope) -> dict[date, Sums]:
    """The totals of each day on which something was booked. With a payer: of the bills in which it has a share, and
    what it does not bear counts as cash."""
    rows = connection.execute(text(_BY_DAY.format(in_scope=in_scope(scope))), scope.parameters())
    return {day: Sums(*(int(value) for value in values)) for day, *values in rows}


def total(days: Collection[Sums]) -> Sums:
    """All days together."""
    return sum(days, Sums())


@dataclass(frozen=True, slots=True)
class Standing:
    """The trio (已发生垫付额, 已结算额, 待结算额) of one group, with what was deducted and what is on its way.

    advanced = settled + deducted + to be settled; `ordered_fen` is the part of the last that is ordered already.
    """

    key: tuple[str, ...]
    advanced_fen: int
    settled_fen: int
    deducted_fen: int
    ordered_fen: int

    @property
    def to_be_settled_fen(self) -> int:
        return self.advanced_fen - self.settled_fen - self.deducted_fen


def standing(
    connection: Connection,
    by: Sequence[str] = (),
    *,
    first: date | None = None,
    last: date | None = None,
    institution: str | None = None,
    payer: str | None = None,
    region: str | None = None,
    with_account: Collection[str] = (),
    from_entries: bool = False,
) -> list[Standing]:
    """The trio grouped by some of `store.ledger.GROUPINGS`, ordered by the groups. `with_account`: the payers that pay
    out personal accounts too, whose accounts are part of what is advanced.

    From the totals of sealed days, as far as there are any, and the entries of the others; with `from_entries` from the
    entries alone: the same figures, by reading the whole ledger.
    """
    keys = [GROUPINGS[one].replace("business_day", "counted") for one in by]
    names = "".join(f"{key} AS k{index}, " for index, key in enumerate(keys))
    groups = ", ".join(f"k{index}" for index in range(len(keys)))
    order = f"GROUP BY {groups} ORDER BY {groups}" if keys else ""
    known = fund_totals.UpTo(None, None) if from_entries else fund_totals.up_to(connection)
    sides, values = fund_totals.sides(known, first, last, by_day="day" in by)
    rows = connection.execute(
        text(f"""
        SELECT {f"{groups}," if keys else ""}
            coalesce(sum(fen) FILTER (WHERE account IN ('receivable', 'personal')), 0),
            coalesce(sum(fen) FILTER (WHERE account = 'bank'), 0),
            coalesce(sum(fen) FILTER (WHERE account = 'deducted'), 0),
            coalesce(sum(fen) FILTER (WHERE account = 'in_transit'), 0)
        FROM (
            SELECT {names} account, fen FROM ({sides}) AS side
            WHERE (account <> 'personal' OR payer = ANY(CAST(:with_account AS text[])))
                AND (CAST(:first AS date) IS NULL OR counted >= :first)
                AND (CAST(:last AS date) IS NULL OR counted <= :last)
                AND (CAST(:institution AS text) IS NULL OR institution = :institution)
                AND (CAST(:payer AS text) IS NULL OR payer = :payer)
                AND (CAST(:region AS text) IS NULL OR region = :region)
        ) AS found {order}"""),
        {
            "first": first,
            "last": last,
            "institution": institution,
            "payer": payer,
            "region": region,
            "with_account": list(with_account),
            **values,
        },
    )
    return [
        Standing(tuple(map(str, key)), int(advanced), int(settled), int(deducted), int(ordered))
        for *key, advanced, settled, deducted, ordered in rows
    ]
