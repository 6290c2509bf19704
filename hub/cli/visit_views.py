"""Visits and notices for people and for JSON. Names and identity numbers are not among what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from routing.days import CHINA_STANDARD_TIME
from schemas.money import yuan_of
from store.notices import NoticeProgress, StoredNotice
from store.visits import VisitRecord


def visit_as_dict(visit: VisitRecord, told: Sequence[StoredNotice]) -> dict[str, Any]:
    """For --json."""
    return {
        "visit_id": visit.visit_id,
        "institution": visit.institution,
        "visit_no": visit.visit_no,
        "kind": visit.kind.value,
        "state": visit.state.value,
        "admitted_at": visit.admitted_at.isoformat(),
        "discharged_at": visit.discharged_at.isoformat() if visit.discharged_at else None,
        "lines": visit.lines,
        "total": yuan_of(visit.total_fen),
        "case_id": visit.settled_by,
        "notices": [notice_as_dict(one) for one in told],
    }


def notice_as_dict(one: StoredNotice) -> dict[str, Any]:
    """For --json."""
    return {
        "notice": one.request_id,
        "payer": one.payer,
        "transaction": one.transaction,
        "institution": one.institution,
        "state": one.state.value,
        "attempts": one.attempts,
        "next_at": one.next_at.isoformat() if one.state is NoticeProgress.WAITING else None,
        "reference": one.reference,
        "reason_code": one.reason_code,
        "reason": one.reason_en or one.reason_zh,
        "created_at": one.created_at.isoformat(),
        "ended_at": one.ended_at.isoformat() if one.ended_at else None,
    }


def show_visit(visit: VisitRecord, told: Sequence[StoredNotice], console: Console) -> None:
    """In a few lines, with a table of notices."""
    console.print(
        f"{visit.institution}/{visit.visit_no}: {visit.kind.value}, {visit.state.value}, "
        f"{visit.lines} fee lines over {yuan_of(visit.total_fen)} yuan",
        markup=False,
    )
    console.print(f"admitted {_at(visit.admitted_at)}", markup=False)
    if visit.discharged_at is not None:
        console.print(f"discharged {_at(visit.discharged_at)}", markup=False)
    if visit.settled_by is not None:
        console.print(f"settled by case {visit.settled_by}: hub case show {visit.settled_by}", markup=False)
    show_notices(told, console)


def show_notices(told: Sequence[StoredNotice], console: Console) -> None:
    """As a table."""
    if not told:
        console.print("No notices.")
        return
    table = Table(box=None)
    for name in ("notice", "payer", "transaction", "state", "tries", "reason"):
        table.add_column(name, overflow="fold")
    for one in told:
        reason = one.reason_en or one.reason_zh or one.reason_code
        table.add_row(one.request_id, one.payer, one.transaction, one.state.value, str(one.attempts), reason)
    console.print(table)


def show_next(one: StoredNotice, console: Console) -> None:
    """What to run next."""
    if one.state is NoticeProgress.WAITING:
        console.print(f"it is said again at {_at(one.next_at)}", markup=False)
    if one.state in (NoticeProgress.REFUSED, NoticeProgress.GIVEN_UP):
        console.print(f"when it can be taken: hub notice retry {one.request_id} --reason WHY --by YOU", markup=False)
        console.print(f"when it need not be:  hub notice close {one.request_id} --reason WHY --by YOU", markup=False)


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(CHINA_STANDARD_TIME):%Y-%m-%d %H:%M:%S} CST"
