"""Proof of what payers were told about a case; whoever looks at the values leaves a record first."""

from __future__ import annotations

from hub.people.actions import Actions
from hub.people.operators import check_operator, check_reason
from hub.sent import Sent, sent_messages
from hub.work import WorkUnits
from store import exchanges, national, notices

REVEAL = "case.reveal"


class Disclosures:
    """What left for the payers of a case."""

    def __init__(self, work_units: WorkUnits, actions: Actions) -> None:
        self._work_units = work_units
        self._actions = actions

    def of_case(self, case_id: str, payer: str = "") -> list[Sent]:
        """Every message about the case and its visit, in order; `payer` for one of them. Values are personal data."""
        with self._work_units.read() as connection:
            visit_id = national.visit_of(connection, case_id)
            told = notices.of_case(connection, case_id)
            if visit_id is not None:
                told += [one for one in notices.of_visit(connection, visit_id) if one.case_id != case_id]
            return sent_messages(exchanges.of_case(connection, case_id), told, payer)

    def reveal(self, case_id: str, payer: str, reason: str, by: str) -> None:
        """Record that somebody is about to see the values. InvalidMessage: no reason, or no operator."""
        check_operator(by)
        with self._work_units.begin("disclosure") as work:
            detail = {"payer": payer}
            self._actions.record(work, REVEAL, f"case/{case_id}", detail, check_reason(reason), by)
