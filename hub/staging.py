"""Polling staging tables: rows in, through the same desk as every channel, states and answers back.

Each table has a thread and a connection of its own, so a party's database that is slow or away holds up nobody else.
Any number of engines may poll the same table. A crash between taking a row and writing back leaves the row claimed; it
is taken again under its own key, which is a repeat. Answers that come later are due in our database until the table
has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import Engine

from hub.books import RuleBooks
from hub.failpoints import failpoint
from hub.gateway.intake import SureIntake
from hub.inbound import Inbound, Taken
from hub.party_secrets import Secrets
from hub.ports import Clock
from hub.routes import new_id
from hub.senders import may_speak
from hub.settings import InvalidSettings
from hub.staging_rows import answer_of, failed, message_of, outcome_of
from hub.sweeps import SWEEP_LIMIT, Every
from routing.links import StagingTable as Polling
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.strict_json import BODY_MAX_BYTES
from store import answers, incidents, staging
from store.incidents import Found
from store.staging_table import Finished, StagingAway, StagingTable, TakenRow

log = structlog.get_logger()

ATTEMPTS_MAX = 5
"""A row that fails by our own fault so often is refused; what the database's absence undoes does not count."""
ANSWER_PATIENCE_S = 3.0
"""An answer that is due is in the table sooner; a row that has none after so long is looked up."""
AWAY_S = 10.0
"""A table that is away for less is no incident."""
LOOK_S = 10.0

Take = Callable[[Sequence[Inbound]], list[Taken]]


class Doors(Protocol):
    """Who may come in: `()` reads anew, `is_shut` says what was read."""

    def __call__(self) -> int: ...

    def is_shut(self, party: str) -> bool: ...


class StagingPoller:
    """Polls the table of one party. Call it again and again on one thread."""

    def __init__(
        self,
        party: str,
        polling: Polling,
        url: str,
        engine: Engine,
        take: Take,
        clock: Clock,
        books: RuleBooks,
        doors: Doors,
    ) -> None:
        """`url` is the address of the party's database; without one the poller says so as an incident."""
        self.party = party
        self.poll_s = polling.poll_s
        self._polling = polling
        self._url = url
        self._engine = engine
        self._take = SureIntake(take)
        self._clock = clock
        self._books = books
        self._doors = doors
        self._table: StagingTable | None = None
        self._away_since: datetime | None = None
        self._looked_at: datetime | None = None

    def __call__(self) -> int:
        """One pass; a full load of work when there is more to take at once."""
        if not self._may_come_in():
            self._away_since = None
            return 0
        now = self._clock.now()
        try:
            more = self._take_rows(now)
            self._write_answers()
            self._look(now)
        except StagingAway as away:
            self._is_away(away, now)
            return 0
        self._away_since = None
        return SWEEP_LIMIT if more else 0

    def close(self) -> None:
        if self._table is not None:
            self._table.close()

    def _may_come_in(self) -> bool:
        """Read anew in each pass: who is shut out is neither heard nor answered from then on."""
        self._doors()
        return not self._doors.is_shut(self.party) and self.party in self._books.active().book.staging_by_code

    def _open(self) -> StagingTable:
        if self._table is None:
            if not self._url:
                raise StagingAway(f"no {self._polling.url_name} for it in the file of HUB_PARTY_SECRETS")
            self._table = StagingTable(self._url)
        return self._table

    def _take_rows(self, now: datetime) -> bool:
        """Take a batch of rows; whether there may be more."""
        table, claim = self._open(), new_id()
        rows = table.claim(claim, self._polling.batch, BODY_MAX_BYTES)
        if not rows:
            return False
        failpoint("staging.after_claim")
        read = [(row, message_of(row, self.party, now)) for row in rows]
        finished = [one for _, one in read if isinstance(one, Finished)]
        messages = [(row, one) for row, one in read if isinstance(one, Inbound)]
        results = self._take([message for _, message in messages]) if messages else []
        failpoint("staging.after_take")
        outcomes = [self._outcome(*one, result) for one, result in zip(messages, results, strict=True)]
        finished += [one for one in outcomes if one is not None]
        again = [row.id for (row, _), result in zip(messages, results, strict=True) if _not_done(result)]
        if finished:
            table.finish(claim, finished)
        if again:
            table.release(claim, again)
        return len(rows) == self._polling.batch and not again

    def _outcome(self, row: TakenRow, message: Inbound, result: Taken | Exception) -> Finished | None:
        """What to write back; None for a row that is to be taken again: at once, or after a fault of our own when its
        claim has run out."""
        if _not_done(result):
            return None
        if isinstance(result, Taken):
            if result.error is not None:
                log.warning("message_refused", party=self.party, message_id=message.message_id, code=result.error.code)
            return outcome_of(row, message, result)
        log.error("staging_row_failed", party=self.party, message_id=message.message_id, exc_info=result)
        return failed(row, message) if row.attempts >= ATTEMPTS_MAX else None

    def _write_answers(self) -> None:
        """Write what is due, and look up what somebody should have written."""
        table = self._open()
        with self._engine.connect() as connection:
            due = staging.due(connection, self.party, SWEEP_LIMIT)
        missing = table.unanswered(ANSWER_PATIENCE_S, SWEEP_LIMIT)
        cases = list(dict.fromkeys([*due, *missing]))
        if not cases:
            return
        with self._engine.connect() as connection:
            theirs = self._of_this_party(staging.institutions_of(connection, cases))
            given = answers.latest(connection, theirs)
        if given:
            table.answer([answer_of(one) for one in given.values()])
        failpoint("staging.after_answer")
        if due:
            # A row that did not have its case yet is found by `unanswered`, so nothing that is due waits for it.
            written = {case_id: given[case_id].revision for case_id in due if case_id in given}
            with self._engine.begin() as connection:
                staging.written(connection, self.party, written)

    def _of_this_party(self, institutions: Mapping[str, str]) -> list[str]:
        """The cases that it may hear of: what stands in its table is its own writing and proves nothing."""
        active = self._books.active()
        allowed = {one: may_speak(active, self.party, one) for one in set(institutions.values())}
        return [case_id for case_id, institution in institutions.items() if allowed[institution]]

    def _look(self, now: datetime) -> None:
        """Now and then: whether rows wait longer than they may."""
        if self._looked_at is not None and now - self._looked_at < timedelta(seconds=LOOK_S):
            return
        self._looked_at = now
        waiting = self._open().waiting()
        if waiting.since is not None and waiting.age_s > self._polling.waiting_s:
            facts = {"party": self.party, "since": waiting.since.isoformat(), "rows_at_least": waiting.count}
            self._report("staging.waiting", facts, now)

    def _is_away(self, away: StagingAway, now: datetime) -> None:
        """The next pass tries again; an absence that lasts becomes an incident, said again while it lasts."""
        if self._away_since is None:
            self._away_since = now
            log.warning("staging_table_away", party=self.party, error=away.reason)
        looked_lately = self._looked_at is not None and now - self._looked_at < timedelta(seconds=LOOK_S)
        if now - self._away_since >= timedelta(seconds=AWAY_S) and not looked_lately:
            self._looked_at = now
            facts = {"party": self.party, "since": self._away_since.isoformat(), "error": away.reason}
            self._report("staging.unreachable", facts, now)

    def _report(self, kind: str, facts: Mapping[str, object], now: datetime) -> None:
        with self._engine.begin() as connection:
            incidents.report(connection, kind, [Found(f"staging/{self.party}", facts)], now)


def _not_done(result: Taken | Exception) -> bool:
    """Whether nothing is known to have happened, for reasons that pass; saying it again is harmless."""
    error = result.error if isinstance(result, Taken) else result
    return isinstance(error, Unavailable | OutcomeUnknown)


def staging_sweeps(
    engine: Engine, take: Take, clock: Clock, books: RuleBooks, doors: Doors, secrets: Secrets
) -> list[Every]:
    """One poller for each table of the rule book in force. InvalidSettings: two parties have the same database."""
    polled = books.active().book.staging_by_code
    urls = {party: secrets.get(party, {}).get(polling.url_name, "") for party, polling in polled.items()}
    given = [url for url in urls.values() if url]
    for party, url in urls.items():
        if url and given.count(url) > 1:
            raise InvalidSettings(f"HUB_PARTY_SECRETS: {party} shares its staging database; each party needs its own")
    pollers = [
        StagingPoller(party, polling, urls[party], engine, take, clock, books, doors)
        for party, polling in polled.items()
    ]
    return [Every(f"staging-{one.party}", one.poll_s, one, at_end=one.close) for one in pollers]
