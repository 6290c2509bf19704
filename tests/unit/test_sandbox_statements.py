"""A party's statement out of its true books, and what its faults do to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import pytest

from sandbox import clock as sandbox_clock
from sandbox import entries
from sandbox.book import Book
from sandbox.controls import STATEMENT, controls
from sandbox.entries import Entry
from sandbox.his_book import HospitalBook
from sandbox.statements import (
    FaultKind,
    StatementDesk,
    StatementFault,
    hospital_lines_of,
    key_of,
    lines_of,
    statement_of,
)
from sandbox.web import Call, PartyApp, Reply
from schemas.statement import BreakClass, LineKind, StatementLine

DAY, NEXT = date(2026, 11, 18), date(2026, 11, 19)
HOSPITAL = "H44030000001"


def a_settlement(number: int, at: str = "2026-11-18T10:00:00+08:00", fen: int = 1000) -> Entry:
    return Entry(
        request_id=f"{number:032x}-2",
        operation=entries.SETTLE,
        outcome=entries.APPROVED,
        amount_fen=fen,
        effect_fen=fen,
        institution=HOSPITAL,
        settlement_no=f"S-{number}",
        reference=f"AK{number}",
        decided_at=at,
        content=str(number),
    )


def an_undo(of: Entry, at: str = "2026-11-18T11:00:00+08:00", **changes: object) -> Entry:
    undo = Entry(
        request_id=f"{of.request_id}-undo",
        operation=entries.CANCEL,
        outcome=entries.CANCELLED,
        amount_fen=of.amount_fen,
        institution=of.institution,
        original_request_id=of.request_id,
        decided_at=at,
        content="undo",
    )
    return replace(undo, **changes)  # type: ignore[arg-type]


def a_book(*written: Entry) -> Book:
    book = Book(volatile=True)
    book.record(written)
    return book


def amounts(lines: list[StatementLine]) -> list[tuple[str, int]]:
    return [(one.settlement_no or "", one.amount) for one in lines]


def test_a_settlement_and_its_refund_are_two_rows_under_one_key():
    settled = a_settlement(1)

    lines = lines_of(a_book(settled, an_undo(settled)), DAY)

    assert [(one.kind, one.amount) for one in lines] == [(LineKind.SETTLE, 1000), (LineKind.REFUND, -1000)]
    assert len({(one.request_id, one.reference, key_of(one)) for one in lines}) == 1


def test_each_row_is_on_the_day_in_china_on_which_the_party_decided():
    settled = a_settlement(1, at="2026-11-18T15:59:59Z")
    late = a_settlement(2, at="2026-11-18T16:00:00Z")
    book = a_book(settled, late, an_undo(settled, at="2026-11-19T09:00:00+08:00"))

    assert amounts(lines_of(book, DAY)) == [("S-1", 1000)]
    assert amounts(lines_of(book, NEXT)) == [("S-2", 1000), ("S-1", -1000)]


def test_what_moved_nothing_is_no_row():
    settled, declined = a_settlement(1), replace(a_settlement(2), outcome=entries.DECLINED, effect_fen=0, amount_fen=0)
    twice = an_undo(settled, request_id="again", content="again")
    never = an_undo(a_settlement(9), operation=entries.REVERSE)

    lines = lines_of(a_book(settled, declined, an_undo(settled), twice, never), DAY)

    assert amounts(lines) == [("S-1", 1000), ("S-1", -1000)]


def test_a_deferral_is_a_row_once_it_is_decided():
    deferred = replace(a_settlement(1), outcome=entries.DEFERRED, amount_fen=0, effect_fen=0)
    book = a_book(deferred)
    assert lines_of(book, DAY) == []

    book.review(
        replace(
            deferred, request_id="", outcome=entries.APPROVED, amount_fen=700, original_request_id=deferred.request_id
        )
    )

    (line,) = lines_of(book, DAY)
    assert (line.request_id, line.amount) == (deferred.request_id, 700)


def test_a_pair_of_one_day_can_be_left_out_or_netted():
    pair, stays = a_settlement(1), a_settlement(2)
    book = a_book(pair, an_undo(pair), stays)

    assert amounts(lines_of(book, DAY, refunds="left_out")) == [("S-2", 1000)]
    assert amounts(lines_of(book, DAY, refunds="netted")) == [("S-1", 0), ("S-2", 1000)]


def test_a_number_of_a_dialects_own_is_not_given_for_one_of_ours():
    (line,) = lines_of(a_book(replace(a_settlement(1), request_id="H/1/R-1")), DAY)

    assert (line.request_id, line.reference) == (None, "AK1")


WRONG = {
    FaultKind.ROW_MISSING: (BreakClass.MISSING_AT_INSURER, -1, -1000),
    FaultKind.ROW_TWICE: (BreakClass.DUPLICATE, +1, +1000),
    FaultKind.WRONG_FEN: (BreakClass.AMOUNT, 0, +1),
    FaultKind.LATE_ROW: (BreakClass.LATE_CUT_OFF, -1, -1000),
    FaultKind.REFUND_MISSING: (BreakClass.STATUS, -1, +1000),
    FaultKind.NETTED: (BreakClass.REFUND_AS_TWO_ROWS, -1, 0),
    FaultKind.STRANGER: (BreakClass.MISSING_AT_HUB, +1, +12345),
}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_does_what_its_record_says(kind: FaultKind):
    pair = a_settlement(1)
    true = lines_of(a_book(pair, an_undo(pair), *map(a_settlement, range(2, 9))), DAY)
    desk = StatementDesk("ANKANG")
    desk.set_faults([StatementFault(kind=kind, day=DAY)])

    spoiled = desk.lines(true, [], DAY)

    (injected,) = desk.injected()
    rows, fen = len(spoiled) - len(true), sum(amount for _, amount in amounts(spoiled)) - 7000
    assert (injected.found_as, rows, fen) == WRONG[kind]
    touched = {key_of(line) for line in [*true, *spoiled] if true.count(line) != spoiled.count(line)}
    assert touched == {(injected.institution, injected.settlement_no, injected.payer)}


def test_a_late_row_comes_with_the_next_day():
    true = lines_of(a_book(*map(a_settlement, range(2, 9))), DAY)
    desk = StatementDesk("ANKANG")
    desk.set_faults([StatementFault(kind=FaultKind.LATE_ROW, day=DAY, count=2)])

    assert len(desk.lines(true, [], DAY)) == 5
    assert len(desk.lines([], true, NEXT)) == 2


def test_a_statement_spoils_the_same_rows_each_time_and_none_without_a_script():
    true = lines_of(a_book(*map(a_settlement, range(1, 30))), DAY)
    desk = StatementDesk("ANKANG")
    desk.set_faults([StatementFault(kind=kind, day=DAY, count=3) for kind in FaultKind])

    first = desk.lines(true, [], DAY)
    assert desk.lines(true, [], DAY) == first
    assert len(desk.injected()) == 5 * 3

    desk.set_faults([])
    assert desk.lines(true, [], DAY) == true


def test_what_a_statement_declares_is_what_it_holds():
    lines = lines_of(a_book(*map(a_settlement, range(3))), DAY)

    statement = statement_of("ANKANG", DAY, lines)

    assert (statement.count, statement.total, statement.day) == (3, 3000, DAY)


def an_answer(revision: int, status: str, basic: str, insurer: str, cash: str, **more: object) -> dict[str, object]:
    standing = "cancelled" if status == "cancelled" else "approved"
    shares = [
        {"payer": payer, "state": standing if amount != "0" else "deferred", "amount": amount}
        for payer, amount in (("BASIC", basic), ("ANKANG", insurer))
    ]
    return {
        "institution": HOSPITAL,
        "settlement_no": "S-1",
        "case_id": "c",
        "revision": revision,
        "status": status,
        "final": status != "partly_settled",
        "total": "100",
        "account": "5",
        "hospital_borne": "0",
        "cash": cash,
        "deferred": "0",
        "shares": shares,
        "business_day": "2026-11-18",
        "answered_at": "2026-11-18T16:30:00Z",
    } | more


def test_a_hospitals_day_book_holds_what_each_answer_changed():
    book = HospitalBook()
    book.write([an_answer(1, "partly_settled", "60", "0", "35"), an_answer(1, "partly_settled", "60", "0", "35")])
    book.write([an_answer(2, "settled", "60", "20", "15")])
    book.write([an_answer(3, "cancelling", "60", "20", "15")])
    book.write([an_answer(4, "cancelled", "60", "20", "15", answered_at="2026-11-19T16:00:01Z")])

    def booked(day: date) -> list[tuple[LineKind, int, int, int, int]]:
        lines = hospital_lines_of(book, HOSPITAL, day)
        return [(one.kind, one.total, one.amount, one.account, one.cash) for one in lines]

    assert booked(DAY) == [(LineKind.SETTLE, 10000, 6000, 500, 3500)]
    assert booked(NEXT) == [(LineKind.SETTLE, 0, 2000, 0, -2000)]
    assert booked(date(2026, 11, 20)) == [(LineKind.REFUND, -10000, -8000, -500, -1500)]


def ask(app: PartyApp, method: str, path: str, body: object = None, query: str = "") -> tuple[int, dict[str, Any]]:
    routes, prefixes = controls(app)
    handler = routes.get((method, path)) or prefixes[method, STATEMENT]
    answer = asyncio.run(handler(Call(method, path, query.encode(), "", orjson.dumps(body))))
    assert isinstance(answer, Reply)
    return answer.status, orjson.loads(answer.body)


def test_a_partys_staff_undoes_what_stands_and_nothing_else():
    settled = a_settlement(1)
    app = PartyApp("ANKANG", a_book(settled))

    assert ask(app, "POST", "/sandbox/undo", {"request_id": settled.request_id})[0] == 200
    assert app.book.effective(settled.request_id) == 0
    assert ask(app, "POST", "/sandbox/undo", {"request_id": "nobody"})[0] == 404
    assert ask(app, "POST", "/sandbox/undo", [])[0] == 422


def test_a_statement_can_be_asked_for_and_spoiled_over_http():
    app = PartyApp("BASIC-440300", a_book(*map(a_settlement, range(1, 5))))
    script = [{"kind": "row_missing", "day": DAY.isoformat()}]

    assert ask(app, "GET", f"{STATEMENT}{DAY}")[1]["count"] == 4
    assert ask(app, "POST", "/sandbox/statement-faults", script)[0] == 200
    assert ask(app, "GET", f"{STATEMENT}{DAY}", query="refunds=left_out")[1]["count"] == 3
    (injected,) = ask(app, "GET", "/sandbox/statement-faults")[1]["injected"]
    assert (injected["kind"], injected["found_as"]) == ("row_missing", "missing_at_basic")
    assert ask(app, "POST", "/sandbox/statement-faults", [{"kind": "no such"}])[0] == 422
    assert ask(app, "GET", f"{STATEMENT}yesterday")[0] == 422


def test_the_cast_lives_another_day_when_it_is_told_to():
    app = PartyApp("ANKANG", a_book())
    try:
        told = ask(app, "POST", "/sandbox/clock", {"ahead_s": -86400})[1]["now"]
    finally:
        sandbox_clock.set_ahead(0)

    assert datetime.fromisoformat(told) < sandbox_clock.now() - timedelta(hours=23)
    assert ask(app, "POST", "/sandbox/clock", {"ahead_s": "later"})[0] == 422
