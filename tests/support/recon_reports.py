"""A report of a day as tests and pictures of it need one: made up, with everything that a report can show."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hub.recon.report import BalanceRow, ClassRow, DayTotals, PartyDay, Report, Side
from routing.schemes import Scheme
from schemas.statement import BreakClass
from store.recon_reports import LateEntry, LateTotal, ListedBreak, Resolution, Run, Seal, StatementHead
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, OTHER_HOSPITAL

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 4, 1, 15, tzinfo=UTC)
CASE = "01890000-0000-7000-8000-000000000001"


def a_run(run_id: int, party: str, **changes: Any) -> Run:
    """A run that is done, with the switches that a scheme has when nothing is said."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "party": party,
        "scheme": "daily",
        "day": DAY,
        "state": "done",
        "switches": Scheme(party=party).model_dump(mode="json", exclude={"party", "code"}),
        "rulebook_version": 3,
        "statement_ids": (run_id,),
        "totals": {},
        "counts": {},
        "ledger_to": 4711,
        "started_by": "li",
        "started_at": NOW - timedelta(hours=1),
        "finished_at": NOW - timedelta(minutes=59),
        "failure": "",
        "digest": "",
        "signed_by": "",
        "approved_by": "",
        "signed_at": None,
        "voided": 0,
    }
    return Run(**values | changes)


def a_break(break_id: int = 1, **changes: Any) -> ListedBreak:
    """A share of which the insurer's books say 10 fen less."""
    values: dict[str, Any] = {
        "break_id": break_id,
        "run_id": 2,
        "party": CRITICAL,
        "scheme": "daily",
        "break_class": "amount",
        "key": f"case/{CASE}/2",
        "case_id": CASE,
        "leg_no": 2,
        "institution": HOSPITAL,
        "payer": CRITICAL,
        "settlement_no": f"S-{break_id}",
        "request_id": f"{CASE.replace('-', '')}-2",
        "reference": f"{CRITICAL}-{break_id}",
        "hub": [1, 0, 7_500, 0, 0],
        "payer_side": [1, 0, 7_490, 0, 0],
        "hospital": None,
        "difference_fen": -10,
        "first_day": DAY,
        "state": "open",
        "proposal": "people",
        "reason": "the payer's book has another amount",
        "action_id": None,
        "resolution": "",
        "resolved_by": "",
        "approved_by": "",
        "resolved_at": None,
        "entry_ids": (),
    }
    return ListedBreak(**values | changes)


def a_party_day(party: str, run: Run | None, *, kind: str = "insurer", **changes: Any) -> PartyDay:
    """A party whose books agree."""
    side = Side(40, 2, 1_234_567_89, -4_500_00, 12_300_00)
    values: dict[str, Any] = {
        "party": party,
        "name": f"{party} 保险",
        "kind": kind,
        "scheme": "daily",
        "run": run,
        "sides": {"hub": side, "payer": side},
        "finding": "",
        "states": {},
        "open_fen": 0,
    }
    return PartyDay(**values | changes)


def a_statement(statement_id: int, party: str, **changes: Any) -> StatementHead:
    """A statement that came as a file."""
    values: dict[str, Any] = {
        "statement_id": statement_id,
        "party": party,
        "scheme": "daily",
        "form": "csv",
        "source": f"{party}-20260302.csv",
        "sha256": f"{statement_id:064x}",
        "rows": 42,
        "total_fen": 1_230_067_89,
        "state": "standing",
        "received_by": party,
        "received_at": NOW - timedelta(hours=2),
    }
    return StatementHead(**values | changes)


def a_late_entry(entry_id: int, **changes: Any) -> LateEntry:
    """A late approval that counts a day after the payer's."""
    values: dict[str, Any] = {
        "entry_id": entry_id,
        "business_day": DAY,
        "effective_day": DAY - timedelta(days=1),
        "institution": HOSPITAL,
        "payer": CRITICAL,
        "kind": "late_approval",
        "debit": "receivable",
        "credit": "patient",
        "amount_fen": 5_000,
        "case_id": CASE,
        "leg_no": 2,
        "cause": "",
    }
    return LateEntry(**values | changes)


def a_seal(**changes: Any) -> Seal:
    """The seal of DAY."""
    values: dict[str, Any] = {
        "business_day": DAY,
        "entries": 210,
        "amount_fen": 3_456_789_00,
        "last_entry_id": 4711,
        "digest": "ab" * 32,
        "previous": "cd" * 32,
        "chain": "ef" * 32,
        "sealed_by": "li",
        "approved_by": "wang",
        "reason": "",
        "sealed_at": NOW - timedelta(minutes=5),
        "books": {
            "compared": {f"{CRITICAL}/daily": 2},
            "left_out": {f"{BASIC}/daily": "their <books> are down"},
            "not_compared": {f"{HOSPITAL}/daily": "no statement came, and none is agreed"},
        },
    }
    return Seal(**values | changes)


def a_report(**changes: Any) -> Report:
    """A day with a bit of everything: a basic system that agrees, an insurer with breaks, a hospital without a run."""
    less = Side(40, 1, 1_234_567_79, -4_500_00, 0)
    parties = [
        a_party_day(BASIC, a_run(1, BASIC, state="signed_off", signed_by="li", approved_by="wang",
                                 signed_at=NOW - timedelta(minutes=30), digest="12" * 32), kind="basic"),
        a_party_day(CRITICAL, a_run(2, CRITICAL, voided=2), open_fen=-10,
                    sides={"hub": Side(40, 2, 1_234_567_89, -4_500_00), "payer": less, "hospital": less},
                    states={"open": 3, "waiting": 1, "resolved": 2, "explained": 5}),
        a_party_day(HOSPITAL, a_run(3, HOSPITAL), kind="institution", sides={"hub": less},
                    finding="no statement since 2026-03-03 09:00"),
    ]  # fmt: skip
    values: dict[str, Any] = {
        "day": DAY,
        "made_at": NOW,
        "totals": DayTotals(42, 5_000_000_00, 3_000_000_00, 400_000_00, 0, 1_600_000_00),
        "parties": parties,
        "not_run": ["ANKANG"],
        "classes": [
            ClassRow(BreakClass.AMOUNT, {"open": 2, "waiting": 1, "resolved": 2}, {"0": 1, "2-3": 2}, -10),
            ClassRow(BreakClass.STATUS, {"open": 1}, {"8+": 1}, 7_500),
            ClassRow(BreakClass.LATE_CUT_OFF, {"explained": 5}, {}, 0),
        ],
        "resolution": Resolution(2, 1_260.0, 93_600.0),
        "breaks": [
            a_break(1),
            a_break(2, break_class="status", state="waiting", action_id=12, payer_side=[1, 1, 7_500, -7_500, 0],
                    difference_fen=-7_500, proposal="reverse", first_day=date(2026, 2, 20)),
            a_break(3, break_class="missing_at_hub", hub=[0, 0, 0, 0, 0], settlement_no="", case_id=None, leg_no=None),
        ],
        "breaks_total": 4,
        "statements": [a_statement(1, BASIC), a_statement(2, CRITICAL, state="replaced"), a_statement(4, CRITICAL)],
        "late": [a_late_entry(17), a_late_entry(18, kind="correction", case_id=None, leg_no=None, cause="break/7")],
        "late_totals": [LateTotal(True, "late_approval", 3, 15_000), LateTotal(True, "correction", 1, 10)],
        "balances": [
            BalanceRow(BASIC, HOSPITAL, 100_000_00, 900_000_00, 600_000_00, 290_000_00, 10_000_00, 0),
            BalanceRow(BASIC, OTHER_HOSPITAL, 0, 90_000_00, 0, 90_000_00, 0, 0),
            BalanceRow(CRITICAL, HOSPITAL, 7_500, 7_500, 0, 7_490, 0, 10),
        ],
        "balances_more": 0,
        "seal": None,
    }  # fmt: skip
    return Report(**values | changes)
