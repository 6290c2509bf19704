"""What sealed days come to: figures are these totals, and the entries of days that are still open.

A sealed day does not change, so its totals can be added up at any time after its seal, without keeping anybody out: who
adds up sees every entry of each day whose seal he sees. They are kept by day, and of whole sealed months by month too:
then a year is twelve rows of each institution, payer, region, layer and product. Whole fen.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection, text

from store import seals

ADVANCING = "('settle', 'late_approval', 'cancel', 'reversal', 'opening', 'correction')"
"""The kinds that make and unmake what is owed; the others say what becomes of it."""
# What no figure is made of is left out: what deductions and payments take off the receivable stands on other accounts.
COUNTED = f"""
    SELECT e.business_day AS booked,
        CASE WHEN e.kind IN {ADVANCING} THEN e.business_day ELSE coalesce(e.about_day, e.business_day) END AS counted,
        e.institution, e.payer, e.region, e.layer, e.product, part.account, part.fen
    FROM ledger_entry e
    CROSS JOIN LATERAL (VALUES (e.debit, e.amount_fen), (e.credit, -e.amount_fen)) AS part(account, fen)
    WHERE e.payer <> '' AND (part.account IN ('bank', 'deducted', 'in_transit')
        OR part.account IN ('receivable', 'personal') AND e.kind IN {ADVANCING})"""
"""SQL for each side of an entry that figures are made of. `counted`: an audit and a payment count for their claim."""
_KEYS = "institution, payer, region, layer, product, account"
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('ledger_total'))")
_UP_TO = text("""
    SELECT max(last_day) FILTER (WHERE span = 'day') AS days, max(last_day) FILTER (WHERE span = 'month') AS months
    FROM ledger_total_up_to""")
_SEALED_TO = text("SELECT max(business_day) FROM day_seal")
_DAYS = f"""
    SELECT 'day' AS span, booked, counted, {_KEYS}, CAST(sum(fen) AS bigint) AS fen FROM ({COUNTED}) AS side
    WHERE (CAST(:after AS date) IS NULL OR booked > :after) AND booked <= :last
    GROUP BY booked, counted, {_KEYS}"""
_MONTHS = f"""
    SELECT 'month' AS span, CAST(date_trunc('month', booked) AS date) AS booked,
        CAST(date_trunc('month', counted) AS date) AS counted, {_KEYS}, CAST(sum(fen) AS bigint) AS fen
    FROM ledger_total WHERE span = 'day' AND (CAST(:after AS date) IS NULL OR booked > :after) AND booked <= :last
    GROUP BY 2, 3, {_KEYS}"""
_ADD = "INSERT INTO ledger_total (span, booked, counted, " + _KEYS + ", fen) {0}"
_ADDED = text("INSERT INTO ledger_total_up_to (span, last_day) VALUES (:span, :last)")
_DROP = (text("DELETE FROM ledger_total"), text("DELETE FROM ledger_total_up_to"))
_WRONG = """
    SELECT booked, count(*) AS groups, CAST(sum(abs(fen)) AS bigint) AS fen FROM (
        SELECT booked, counted, {keys}, sum(fen) AS fen FROM (
            SELECT booked, counted, {keys}, fen FROM ledger_total
            WHERE span = '{span}' AND (CAST(:after AS date) IS NULL OR booked > :after) AND booked <= :last
            UNION ALL
            SELECT booked, counted, {keys}, -fen FROM ({anew}) AS anew
        ) AS both_ GROUP BY booked, counted, {keys} HAVING sum(fen) <> 0
    ) AS wrong GROUP BY booked ORDER BY booked LIMIT 100"""


@dataclass(frozen=True, slots=True)
class UpTo:
    """The last days that totals by day and by month hold; None: of none."""

    days: date | None
    months: date | None


def up_to(connection: Connection) -> UpTo:
    """How far there are totals."""
    return UpTo(*connection.execute(_UP_TO).one())


def catch_up(connection: Connection) -> UpTo:
    """Add up what was sealed since it was done last; how far there are totals now. For a transaction of seconds."""
    connection.execute(_LOCK)
    sealed_to: date | None = connection.execute(_SEALED_TO).scalar_one()
    known = up_to(connection)
    if sealed_to is None or (known.days is not None and known.days >= sealed_to):
        return known
    seals.free(connection)
    _add_up(connection, "day", _DAYS, known.days, sealed_to)
    months = last_whole_month(sealed_to)
    if known.months is None or known.months < months:
        _add_up(connection, "month", _MONTHS, known.months, months)
    return up_to(connection)


def _add_up(connection: Connection, span: str, statement: str, after: date | None, last: date) -> None:
    connection.execute(text(_ADD.format(statement)), {"after": after, "last": last})
    connection.execute(_ADDED, {"span": span, "last": last})


def add_up_anew(connection: Connection) -> UpTo:
    """Forget all totals and add them up from the entries."""
    connection.execute(_LOCK)
    for statement in _DROP:
        connection.execute(statement)
    return catch_up(connection)


def last_whole_month(day: date) -> date:
    """The last day of the newest month that has ended by the end of `day`."""
    if day.day == calendar.monthrange(day.year, day.month)[1]:
        return day
    return day.replace(day=1) - timedelta(days=1)


def whole_months(first: date | None, last: date | None) -> tuple[date, date]:
    """(first day of the first month, first day of the last month) that lie in this period as a whole; the second before
    the first where none does. None is no end."""
    begin, end = date.min, date.max.replace(day=1)
    if first is not None:
        begin = first if first.day == 1 else (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    if last is not None:
        end = last_whole_month(last).replace(day=1)
    return begin, end


def sides(known: UpTo, first: date | None, last: date | None, *, by_day: bool) -> tuple[str, dict[str, object]]:
    """SQL with its parameters for rows like those of COUNTED that come to the same in this period; `by_day`: on each of
    its days too."""
    if known.days is None:
        return COUNTED, {}
    # Only what `known` speaks of: somebody may be adding up the next day at this moment.
    kept = f"SELECT booked, counted, {_KEYS}, fen FROM ledger_total WHERE booked <= :days_to AND"
    values: dict[str, object] = {"days_to": known.days}
    # No totals that were added since we asked how far they go: their entries are read. The condition is on the entries
    # themselves, so that their index knows it.
    open_days = f"{COUNTED} AND e.business_day > :days_to"
    begin, end = whole_months(first, last)
    if by_day or known.months is None or begin > end:
        return f"{kept} span = 'day' AND booked <= :days_to UNION ALL {open_days}", values
    parts = (
        f"{kept} span = 'month' AND booked <= :months_to AND counted BETWEEN :begin AND :end",
        f"{kept} span = 'day' AND booked > :months_to AND booked <= :days_to",
        # Of months that the period cuts; each in words that the index knows.
        f"{kept} span = 'day' AND booked <= :months_to AND counted >= :first_day AND counted < :begin",
        f"{kept} span = 'day' AND booked <= :months_to AND counted >= :after AND counted <= :last_day",
        open_days,
    )
    after = date.max if last is None else end + timedelta(days=calendar.monthrange(end.year, end.month)[1])
    values |= {"begin": begin, "end": end, "after": after, "months_to": known.months}
    values |= {"first_day": first or date.min, "last_day": last or date.max}
    return " UNION ALL ".join(parts), values


_NAMED = {"day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A day or a month whose totals are not what its entries come to."""

    subject: str
    detail: str


def wrong(connection: Connection, since: date | None = None) -> Iterator[Wrong]:
    """Where totals are not what the entries come to, those of the days from `since` on; reads their entries."""
    known = up_to(connection)
    if known.days is None:
        return
    after = None if since is None else since - timedelta(days=1)
    yield from _differences(connection, "day", _DAYS, after, known.days)
    if known.months is not None:
        whole = None if after is None else last_whole_month(after)
        yield from _differences(connection, "month", _MONTHS, whole, known.months)


def _differences(connection: Connection, span: str, anew: str, after: date | None, last: date) -> Iterator[Wrong]:
    query = _WRONG.format(keys=_KEYS, span=span, anew=anew)
    for row in connection.execute(text(query), {"after": after, "last": last}):
        told = f"{row.groups} totals differ from the entries, by {row.fen} fen: hub fund balance --anew"
        yield Wrong(f"totals/{row.booked:{_NAMED[span]}}", told)
