"""What a pass asks payers for: their books of the running day, and statements that are due. One payer after the other
answers on its own thread; a payer that is not heard once is not asked again in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import structlog
from sqlalchemy import Engine

from hub.calls import Payer
from hub.ports import Clock
from hub.recon.continuous_asking import able_payers
from hub.recon.continuous_day import LinesOf, Looked, RunningDay
from hub.recon.continuous_due import Due, schemes_of
from hub.recon.pulling_patience import NotAsked, Patience
from hub.recon.pulling_together import OnePayer, Puller, Wanted
from hub.work import WorkUnits
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.errors import HubError
from store import hub_side, incidents
from store.database import database_is_away

log = structlog.get_logger()

BY = "hub"
"""Who makes a run that nobody asked for."""
DIFFERENCE = "recon.difference"


class AskingMeans(Protocol):
    """What is needed of the pass's means."""

    @property
    def engine(self) -> Engine: ...
    @property
    def work_units(self) -> WorkUnits: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def payers(self) -> Mapping[str, Payer]: ...
    @property
    def puller(self) -> Puller: ...
    @property
    def lines_of(self) -> LinesOf: ...
    @property
    def margin(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A statement that was to be fetched; `error` where it has not come."""

    due: Due
    error: HubError | None

    @property
    def asked(self) -> bool:
        """Whether its payer was asked for this day."""
        return not isinstance(self.error, NotAsked)


class Asking:
    """Asks payers. `down`: those whose breakers are open."""

    def __init__(self, means: AskingMeans, book: RuleBook, down: Collection[str], patience: Patience) -> None:
        self._means = means
        self._book = book
        self._down = down
        self._patience = patience
        self._regions = [(one.code, one.region) for one in book.institutions]
        self._running = RunningDay(means.engine, means.work_units, means.payers, means.lines_of, means.margin)

    def tasks(self, due: Sequence[Due], turn: int) -> list[Callable[[], Iterator[Looked | Fetched]]]:
        """One for each payer. `turn` says which of its days is asked for first: the one at which it fails must not
        keep the others waiting for ever."""
        looks = self._looks()
        days: dict[str, list[Due]] = {}
        for one in due:
            days.setdefault(one.scheme.party, []).append(one)
        payers = dict.fromkeys([*looks, *days])
        return [partial(self._of_one, code, looks.get(code, []), turned(days.get(code, []), turn)) for code in payers]

    def _looks(self) -> dict[str, list[Scheme]]:
        """The schemes whose running day can be looked at, by payer."""
        able = able_payers(self._means.work_units, self._means.payers)
        found: dict[str, list[Scheme]] = {}
        for scheme in schemes_of(self._book):
            payer = able.get(scheme.party)
            if scheme.statement == "pulled" and payer is not None and _tells_at_any_time(payer):
                found.setdefault(scheme.party, []).append(scheme)
        return found

    def _of_one(self, code: str, looks: Sequence[Scheme], due: Sequence[Due]) -> Iterator[Looked | Fetched]:
        payer = OnePayer(code, self._patience, down=code in self._down)
        for one in due:
            wanted = Wanted(code, one.scheme.code, one.day)
            pulled = for_itself(one.scheme.name, payer.pull, self._means.puller, wanted, BY)
            if pulled is not None:
                yield Fetched(one, pulled.error)
        # The running day last: some have trouble with a day that is not over, which is no reason to miss the others.
        for scheme in looks:
            looked = for_itself(scheme.name, self._look_at, payer, scheme)
            if looked is not None:
                yield looked

    def _look_at(self, payer: OnePayer, scheme: Scheme) -> Looked:
        institutions = hub_side.institutions_of(scheme, self._regions)
        now = self._means.clock.now()
        looked: Looked = payer.ask(lambda patience: self._running.look(scheme, institutions, now, patience))
        with self._means.work_units.engine.begin() as connection:
            if looked.found:
                known = [one for one in incidents.listed(connection, kind=DIFFERENCE) if one.subject == looked.subject]
                since = known[0].opened_at if known else now
                incidents.report(connection, DIFFERENCE, [looked.as_found(since)], now)
            else:
                incidents.recover_subject(connection, DIFFERENCE, looked.subject, now)
        return looked


def turned(due: Sequence[Due], turn: int) -> list[Due]:
    """The same days, beginning with another one each turn."""
    first = turn % len(due) if due else 0
    return [*due[first:], *due[:first]]


def _tells_at_any_time(payer: Payer) -> bool:
    """Whether asking about half a day is harmless: some want our whole day and keep it as the day's comparison."""
    return payer.can.statements and not payer.can.statements_compared


def for_itself(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Do it for one party. Whatever goes wrong is told and left to the next pass; without a database all end."""
    try:
        return work(*arguments)
    except HubError as error:
        log.warning("recon_not_done", scheme=name, what=work.__name__, code=error.code, reason=error.message)
    except Exception as error:
        if database_is_away(error):
            raise
        log.exception("recon_not_done", scheme=name, what=work.__name__, error=type(error).__name__)
    return None
