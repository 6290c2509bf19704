"""Whether a certification said everything that docs/transactions.md claims of a dialect, and heard a yes to it."""

from __future__ import annotations

from hub.certify.run import Report
from hub.transaction_page import PASSED_ON, can_be_asked, notices_of
from schemas.codes import Outcome
from schemas.payer import Operation

YES = {
    Operation.SETTLE: Outcome.APPROVED,
    Operation.TRIAL: Outcome.APPROVED,
    Operation.CANCEL: Outcome.CANCELLED,
    Operation.REVERSE: Outcome.CANCELLED,
    Operation.INQUIRE: Outcome.APPROVED,
}


def unproven(report: Report) -> list[str]:
    """Cells of the dialect's column to which the party never said yes; its `-` that it said yes to as well."""
    heard = {(one.operation, one.ended.split()[0]) for result in report.results for one in result.evidence if one.ended}
    wrong = [
        operation.value
        for operation, yes in YES.items()
        if can_be_asked(report.adapter, operation) is not ((operation.value, yes.value) in heard)
    ]
    taken = {what for what, ended in heard if ended in (Outcome.APPROVED, Outcome.CANCELLED)}
    return wrong + sorted(name.value for name in notices_of(report.adapter) & PASSED_ON if name.value not in taken)
