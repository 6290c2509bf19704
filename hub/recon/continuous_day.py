"""The running day: what a payer has in its books so far, laid beside ours while everybody still remembers.

Nothing of it is put on record: the day's own run compares the whole day. What moved while the payer was asked, and
what lies close to midnight, is left to the next look.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import IO, Any

import structlog
from sqlalchemy import Engine

from hub.calls import Payer
from hub.recon.continuous_asking import ask_about
from hub.recon.pulling_patience import Patience
from hub.tasks import leg_of_request_id
from hub.work import WorkUnits
from routing.days import CHINA_STANDARD_TIME, day_of
from routing.schemes import Scheme
from routing.states import AWAITING_PAYER, LegState
from schemas.money import yuan_of
from schemas.statement import StatementLine
from store import hub_side, matching, recon_watch
from store.driver import driver_cursor
from store.hub_side import HubSide
from store.incidents import Found
from store.recon_watch import RunningDifference

log = structlog.get_logger()

DIFFERENCES_MAX = 1_000
ASK_MAX = 2_000
SHOWN = 5
MARGIN = timedelta(minutes=2)
"""What was booked so shortly before the payer was asked may not have been in its books."""
MIDNIGHT = timedelta(minutes=15)
MEMORY_MAX_BYTES = 4 << 20

LinesOf = Callable[[Scheme, date, Patience], Iterable[StatementLine]]
"""A payer's lines of a day as it tells them now, put on record nowhere; a HubError when it does not tell them."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one look: differences, and how many legs were asked about because the payer has them."""

    scheme: Scheme
    day: date
    found: Sequence[RunningDifference]
    asked: int

    @property
    def subject(self) -> str:
        """How an incident names it."""
        return f"recon/{self.scheme.party}/{self.scheme.code}"

    def as_found(self, since: datetime) -> Found:
        """As an incident tells of it: by request ids and amounts, no data of patients."""
        counts = Counter(one.what for one in self.found)
        first = [
            f"{one.name}: {one.what}, theirs {yuan_of(one.payer_fen)}, ours {yuan_of(one.hub_fen)}"
            for one in self.found[:SHOWN]
        ]
        facts = {
            "payer": self.scheme.party,
            "scheme": self.scheme.code,
            "day": self.day.isoformat(),
            "count": len(self.found),
            "count_max": DIFFERENCES_MAX,
            "counts": dict(counts),
            "off_by": yuan_of(sum(one.payer_fen - one.hub_fen for one in self.found)),
            "first": first,
            "case_id": next((one.case_id for one in self.found if one.case_id), ""),
            "since": since.isoformat(),
        }
        return Found(self.subject, facts)


class RunningDay:
    """Compares the running day with payers that tell their books when they are asked."""

    def __init__(
        self,
        engine: Engine,
        work_units: WorkUnits,
        payers: Mapping[str, Payer],
        lines_of: LinesOf,
        margin: timedelta = MARGIN,
    ) -> None:
        """`engine` is one for reports."""
        self._engine = engine
        self._work_units = work_units
        self._payers = payers
        self._lines_of = lines_of
        self._margin = margin

    def look(self, scheme: Scheme, institutions: tuple[str, ...] | None, now: datetime, patience: Patience) -> Looked:
        """Fetch, compare, and have asked about whatever the payer has and we miss; HubError: it cannot be fetched."""
        day = day_of(now)
        with tempfile.SpooledTemporaryFile(MEMORY_MAX_BYTES) as file:
            # No transaction is open while the payer is asked.
            for line in self._lines_of(scheme, day, patience):
                file.write(_row(line))
            file.seek(0)
            found, to_ask = self._compare(scheme, institutions, day, now, file)
        asked = ask_about(self._work_units, self._payers, to_ask, now)
        return Looked(scheme, day, found, asked)

    def _compare(
        self, scheme: Scheme, institutions: tuple[str, ...] | None, day: date, now: datetime, file: IO[bytes]
    ) -> tuple[list[RunningDifference], list[tuple[str, int]]]:
        midnight = datetime.combine(day, time(), CHINA_STANDARD_TIME)
        with self._engine.begin() as connection:
            matching.prepare(connection)
            recon_watch.lines_table(connection)
            statement = f"COPY recon_running ({', '.join(recon_watch.COLUMNS)}) FROM STDIN"
            with driver_cursor(connection, statement) as cursor:
                cursor.copy_expert(statement, file)
            hub_side.stage(connection, HubSide(scheme, "payer", day, institutions))
            in_fund = scheme.account == "in_fund"
            recon_watch.join_sides(connection, scheme.party, in_fund=in_fund)
            found = recon_watch.differences(
                connection,
                day,
                began_at=now - self._margin,
                from_at=midnight + MIDNIGHT,
                unsure=[state.value for state in (*AWAITING_PAYER, LegState.PLANNED)],
                limit=DIFFERENCES_MAX,
                in_fund=in_fund,
            )
            return found, recon_watch.legs_to_ask(connection, ASK_MAX)


def _row(line: StatementLine) -> bytes:
    """One line in COPY's text form; codes and numbers hold neither backslashes nor control characters."""
    ours = leg_of_request_id(line.request_id) if line.request_id else None
    values: tuple[Any, ...] = (
        ours[0] if ours else None,
        ours[1] if ours else None,
        line.institution,
        line.settlement_no or "",
        line.reference or "",
        line.amount,
    )
    return ("\t".join("\\N" if value is None else str(value) for value in values) + "\n").encode()
