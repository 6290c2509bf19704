"""How cases stand, read for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.hospital.codec import write_answer
from hub.answers import combined_answer
from hub.books import RuleBooks
from hub.timeline import TimelineEvent, timeline
from hub.work import WorkUnits
from routing.plan import Considered, route_of
from routing.states import CaseState
from schemas.answer import CombinedAnswer
from store import answers, cases, exchanges
from store.answers import StoredAnswer
from store.records import CaseRecord


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case with its newest answer."""

    case: CaseRecord
    answer: StoredAnswer | None

    def current(self, now: datetime) -> bytes:
        """The answer as it was given; how the case stands where none holds (not given yet, or being undone)."""
        if self.answer is not None and self.case.state is not CaseState.CANCELLING:
            return self.answer.body
        return write_answer(combined_answer(self.case, now))


class CaseViews:
    """Reads views of cases."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks) -> None:
        self._work_units = work_units
        self._books = books

    def read(self, case_ids: Sequence[str]) -> list[CaseView | Exception | None]:
        """One view per id, in order; None where there is no such case."""
        with self._work_units.read() as connection:
            found = cases.read(connection, case_ids)
            newest = answers.latest(connection, found)
        views = {case_id: CaseView(case, newest.get(case_id)) for case_id, case in found.items()}
        return [views.get(case_id) for case_id in case_ids]

    def latest(self, case_ids: Sequence[str]) -> dict[str, StoredAnswer]:
        """The newest answers of those cases that have one."""
        with self._work_units.read() as connection:
            return answers.latest(connection, case_ids)

    def by_number(self, institution: str, settlement_no: str) -> CaseView | None:
        """The settlement that an institution gave this number; trials have none of their own."""
        key = (institution, settlement_no)
        with self._work_units.read() as connection:
            known = cases.find_by_key(connection, [key])
        if key not in known:
            return None
        (view,) = self.read([known[key][0]])
        return view if isinstance(view, CaseView) else None

    def explained(self, view: CaseView, now: datetime) -> bytes:
        """The view's answer with the reason for each payer that is in the plan or is not."""
        book = self._books.version(view.case.rulebook_version)
        with self._work_units.read() as connection:
            considered = cases.considered(connection, view.case.case_id)
        route = route_of(book, [Considered(rule, missed) for rule, missed in considered])
        answer = CombinedAnswer.model_validate_json(view.current(now)).model_copy(update={"route": route})
        return write_answer(answer)

    def history(self, case: CaseRecord) -> tuple[TimelineEvent, ...]:
        """What happened to the case."""
        with self._work_units.read() as connection:
            return timeline(
                case, exchanges.of_case(connection, case.case_id), answers.history(connection, case.case_id)
            )
