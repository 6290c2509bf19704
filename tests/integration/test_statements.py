"""Statements in, on a real database: whole or not at all, once, and refused with what is wrong in which row."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import xlsxwriter
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from hub.cli.app import app
from hub.gateway.national.numbers import short_number
from hub.inbound import Taken
from hub.recon.statements import StatementRefused, take_file
from routing.rulebook import RuleBook
from schemas.errors import Conflict
from schemas.money import signed_fen_of, yuan_of
from schemas.statement import StatementAnswer, StatementHeader
from schemas.transactions import Transaction
from store import statements
from store.database import open_engine
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    OTHER_HOSPITAL,
    REGION,
    a_rule_book,
    a_rule_book_text,
)
from tests.support.eventually import eventually
from tests.support.http_client import Client
from tests.support.hub_in_process import a_hub
from tests.support.master_data import BASIC_PARTY
from tests.support.national_his import PERSON, NationalHis, insured
from tests.support.national_his import a_zip as national_zip
from tests.support.rule_books import put_in_force
from tests.support.statement_files import a_zip

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)
HEAD = "kind,institution,settlement_no,payer,request_id,reference,total,amount,account,cash,at"


def a_row(number: int = 1, **changes: str) -> str:
    """One line of the canonical form."""
    row = {
        "kind": "settle",
        "institution": HOSPITAL,
        "settlement_no": f"S-{number}",
        "payer": "",
        "request_id": "",
        "reference": f"R-{number}",
        "total": "300.00",
        "amount": "100.50",
        "account": "0.00",
        "cash": "0",
        "at": "2026-03-02T09:15:00+08:00",
    }
    return ",".join((row | changes).values())


def a_csv(*rows: str, head: str = HEAD) -> bytes:
    return "".join(f"{row}\n" for row in (head, *rows)).encode()


@dataclass
class Books:
    """Takes files as `hub recon import` does."""

    engine: Engine
    book: RuleBook
    folder: Path

    def take(
        self, content: bytes, count: int, total: str, *, party: str = CRITICAL, name: str = "day.csv", **more: Any
    ) -> StatementAnswer:
        path = self.folder / name
        path.write_bytes(content)
        header = {"party": party, "day": DAY, "count": count, "total": signed_fen_of(total)}
        declared = {key: more.pop(key) for key in ("day", "scheme", "sha256") if key in more}
        return take_file(
            self.engine,
            self.book,
            path,
            StatementHeader(**(header | declared)),
            by="li",
            now=more.pop("now", NOW),
            **more,
        )

    def refused(self, content: bytes, count: int = 1, total: str = "100.50", **more: Any) -> list[tuple[str, str]]:
        """What is blamed, and why; nothing must be on record but that."""
        before = self.count("statement_line")
        with pytest.raises(StatementRefused) as refusal:
            self.take(content, count, total, **more)
        assert self.count("statement_line") == before
        return [(one.field, one.code) for one in refusal.value.violations]

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def lines(self, statement_id: int) -> list[tuple[Any, ...]]:
        sql = (
            "SELECT line_no, kind, institution, settlement_no, payer, request_id, reference, total_fen, amount_fen, "
            "account_fen, cash_fen, at FROM statement_line WHERE statement_id = :id ORDER BY line_no"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"id": statement_id})]

    def waits(self) -> bool:
        """Whether somebody waits for a run."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with(query, :query)"
        with self.engine.connect() as connection:
            return connection.execute(text(waiting), {"query": "SELECT state FROM recon_run"}).first() is not None

    def states(self) -> list[str]:
        with self.engine.connect() as connection:
            return [one.state for one in statements.listed(connection)]


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Iterator[Books]:
    engine = open_engine(database_url, pool_size=4, by_key=False)
    yield Books(engine, a_rule_book(BASIC_RULE, CRITICAL_RULE), tmp_path)
    engine.dispose()


def test_a_file_is_on_record_line_by_line(books: Books) -> None:
    refund = a_row(2, kind="refund", total="-300", amount="-100.5", at="2026-03-02 23:30:00")
    content = a_csv(a_row(1), refund)

    answer = books.take(content, 2, "0")

    assert (answer.rows, answer.total, answer.standing, answer.replaced) == (2, 0, True, None)
    assert answer.sha256 == hashlib.sha256(content).hexdigest()
    at = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
    assert books.lines(answer.statement_id) == [
        (1, "settle", HOSPITAL, "S-1", CRITICAL, "", "R-1", 30_000, 10_050, 0, 0, at),
        (2, "refund", HOSPITAL, "S-2", CRITICAL, "", "R-2", -30_000, -10_050, 0, 0, at + timedelta(hours=14.25)),
    ]


def test_whatever_a_spreadsheet_makes_of_it(books: Books) -> None:
    heading = f"支付方流水号,支付金额,医疗机构编码\nR-1,100.50,{HOSPITAL}\n"
    for content in (
        b"\xef\xbb\xbf" + a_csv(a_row()),
        a_csv(a_row()).replace(b"\n", b"\r\n"),
        a_csv(a_row()).replace(b",", b";"),
        a_csv(a_row()).replace(b",", b"\t"),
        a_csv(a_row()).removesuffix(b"\n"),
        heading.encode(),
        heading.encode("gb18030"),
    ):
        assert books.take(content, 1, "100.50").rows == 1, content


def test_an_empty_day_is_a_statement_too(books: Books) -> None:
    assert books.take(a_csv(), 0, "0.00").rows == 0


def test_the_same_content_is_answered_again_and_other_content_takes_its_place(books: Books) -> None:
    first = books.take(a_csv(a_row(1)), 1, "100.50")
    again = books.take(a_csv(a_row(1)), 1, "100.50", now=NOW + timedelta(hours=1))
    other = books.take(a_csv(a_row(2)), 1, "100.50")
    late = books.take(a_csv(a_row(1)), 1, "100.50")
    back = books.take(a_csv(a_row(1)), 1, "100.50", again=True)

    assert again == first
    assert (other.replaced, other.standing) == (first.statement_id, True)
    assert (late.statement_id, late.standing) == (first.statement_id, False)
    assert (back.statement_id, back.standing) == (first.statement_id, True)
    assert books.states() == ["replaced", "standing"]


def test_a_refused_file_that_comes_again_is_listed_once_under_its_newest_name(books: Books) -> None:
    for name in ("first.csv", "second.csv"):
        books.refused(a_csv(a_row(amount="x")), name=name)

    with books.engine.connect() as connection:
        (kept,) = statements.listed(connection)
    assert (kept.state, kept.came.source) == ("refused", "second.csv")


def test_a_day_that_is_signed_off_keeps_its_statement(books: Books) -> None:
    first = books.take(a_csv(a_row(1)), 1, "100.50")
    with books.engine.begin() as connection:
        a_run(connection, CRITICAL, DAY, "signed_off")

    with pytest.raises(Conflict) as refusal:
        books.take(a_csv(a_row(2)), 1, "100.50")

    assert refusal.value.code == "statement.signed_off"
    assert books.take(a_csv(a_row(1)), 1, "100.50") == first
    assert books.states() == ["refused", "standing"]


def test_whoever_replaces_a_statement_while_the_day_is_signed_off_waits_and_is_refused(books: Books) -> None:
    books.take(a_csv(a_row(1)), 1, "100.50")
    with books.engine.begin() as connection:
        a_run(connection, CRITICAL, DAY, "done")

    with ThreadPoolExecutor(1) as other, books.engine.connect() as signing:
        with signing.begin():
            signing.execute(text("UPDATE recon_run SET state = 'signed_off'"))
            replacing = other.submit(books.take, a_csv(a_row(2)), 1, "100.50")
            eventually(books.waits, 60)

        with pytest.raises(Conflict):
            replacing.result(10)
    assert books.states() == ["refused", "standing"]


def a_run(connection: Connection, party: str, day: date, state: str) -> None:
    """A run of reconciliation that compared nothing."""
    connection.execute(
        text(
            "INSERT INTO recon_run (party, scheme, day, state, switches, rulebook_version, statement_ids, "
            "started_by, started_at) VALUES (:party, 'daily', :day, :state, '{}', 1, '{}', 'li', now())"
        ),
        {"party": party, "day": day, "state": state},
    )


WRONG: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "not a number": (a_csv(a_row(amount="NaN")), [("row 2, amount", "money")]),
    "beyond all bounds": (a_csv(a_row(amount="1e999")), [("row 2, amount", "money")]),
    "too much": (a_csv(a_row(cash="-100000000000")), [("row 2, cash", "money")]),
    "too much for anything": (a_csv(a_row(account="1" + "0" * 20)), [("row 2, account", "money")]),
    "a price": (a_csv(a_row(total="¥300")), [("row 2, total", "money")]),
    "hours of no day": (a_csv(a_row(at="2026-03-02 24:00:01")), [("row 2, at", "datetime")]),
    "before our times": (a_csv(a_row(at="1026-03-02T09:15:00Z")), [("row 2, at", "datetime")]),
    "infinite": (a_csv(a_row(total="Infinity")), [("row 2, total", "money")]),
    "a comma in thousands": (a_csv(a_row(amount='"1,100.50"')), [("row 2, amount", "money")]),
    "three decimals": (a_csv(a_row(amount="100.501")), [("row 2, amount", "money")]),
    "no amount": (a_csv(a_row(amount="")), [("row 2, amount", "missing")]),
    "below zero": (a_csv(a_row(amount="-100.50")), [("row 2, amount", "statement.sign")]),
    "a refund above zero": (a_csv(a_row(kind="refund", total="-1")), [("row 2, amount", "statement.sign")]),
    "no such kind": (a_csv(a_row(kind="void")), [("row 2, kind", "enum")]),
    "nobody's institution": (a_csv(a_row(institution="H99999999999")), [("row 2, institution", "institution.unknown")]),
    "another payer": (a_csv(a_row(payer=BASIC)), [("row 2, payer", "payer.unknown")]),
    "no key": (a_csv(a_row(settlement_no="", reference="")), [("row 2, settlement_no", "statement.key")]),
    "a formula": (a_csv(a_row(reference="=1+1")), [("row 2, reference", "string_pattern_mismatch")]),
    "too long": (a_csv(a_row(reference="R" * 65)), [("row 2, reference", "string_pattern_mismatch")]),
    "no moment": (a_csv(a_row(at="now")), [("row 2, at", "datetime")]),
    "no such day": (a_csv(a_row(at="2026-02-30T09:15:00+08:00")), [("row 2, at", "datetime")]),
    "no such day of a sheet": (a_csv(a_row(at="2026/2/30 9:15")), [("row 2, at", "datetime")]),
    "no such hour of a sheet": (a_csv(a_row(at="2026/3/2 24:15")), [("row 2, at", "datetime")]),
    "the day first": (a_csv(a_row(at="02/03/2026 9:15")), [("row 2, at", "datetime")]),
    "only one thing": (a_csv(a_row(amount=" 1 ", at="2026/3/2 9:15", kind="x")), [("row 2, kind", "enum")]),
    "a space in a number": (a_csv(a_row(reference=" R-1")), [("row 2, reference", "string_pattern_mismatch")]),
    "another day": (a_csv(a_row(at="2026-03-05T09:15:00+08:00")), [("row 2, at", "statement.day")]),
    "a column more": (a_csv(a_row(1), a_row(2) + ",1"), [("row 3", "file.invalid")]),
    "a column less": (a_csv(a_row(1).rpartition(",")[0]), [("row 2", "file.invalid")]),
    "half a quote": (a_csv(a_row(reference='"R')), [("row 2", "file.invalid")]),
    "no UTF-8": (a_csv(a_row(1)) + b"\xff\xfe,\n", [("row 3", "file.invalid")]),
    "a zero byte": (a_csv(a_row(reference="R\0")), [("row 2", "file.invalid")]),
    "an end before the end": (a_csv("\\.", a_row(1)), [("count", "statement.count"), ("total", "statement.total")]),
    "a word in the heading": (a_csv(a_row(), head=HEAD.replace("cash", "money")), [("file", "file.invalid")] * 2),
    "a column twice": (a_csv(a_row(), head=HEAD.replace("cash", "amount")), [("file", "file.invalid")] * 2),
    "nothing": (b"", [("file", "file.invalid")]),
    "a zip": (b"PK\x03\x04" + bytes(100), [("file", "file.invalid")] * 3),
    "another count": (a_csv(a_row(1, amount="50.50"), a_row(2, amount="50")), [("count", "statement.count")]),
    "another total": (a_csv(a_row(1, amount="100.49")), [("total", "statement.total")]),
}


def test_wrong_files_are_refused_whole_and_the_place_is_named(books: Books) -> None:
    for name, (content, expected) in WRONG.items():
        assert books.refused(content) == expected, name
        with books.engine.connect() as connection:
            kept = statements.listed(connection)[0]
        assert (kept.state, kept.came.sha256) == ("refused", hashlib.sha256(content).hexdigest()), name
        assert [(one["field"], one["code"]) for one in kept.problems][-len(expected) :] == expected, name


def test_moments_as_spreadsheets_write_them_are_chinas(books: Books) -> None:
    written = ("2026/3/2 9:05", "2026/03/02 09:05:00", "2026-03-02 9:05", "2026-3-2 9:05:00", "2026-03-02 09:05")
    rows = [a_row(number, at=at, amount=" 100.50 ") for number, at in enumerate(written, 1)]

    taken = books.take(a_csv(*rows), len(rows), "502.50")

    assert {line[-1] for line in books.lines(taken.statement_id)} == {datetime(2026, 3, 2, 1, 5, tzinfo=UTC)}


def test_many_problems_are_counted_and_the_first_are_listed(books: Books) -> None:
    rows = [a_row(number, amount="x", kind="y") for number in range(1, 101)]

    with pytest.raises(StatementRefused, match="200 problems; the first 20 are listed") as refusal:
        books.take(a_csv(*rows), 100, "0")

    assert [one.field for one in refusal.value.violations][:3] == ["row 2, kind", "row 2, amount", "row 3, kind"]
    assert len(refusal.value.violations) == 20


def test_what_was_declared_must_be_what_came(books: Books) -> None:
    content = a_csv(a_row())

    assert books.refused(content, sha256="0" * 64) == [("sha256", "statement.sha256")]
    assert books.refused(content, party="NOBODY") == [("party", "party.unknown")]
    assert books.refused(content, scheme="weekly") == [("scheme", "scheme.unknown")]
    assert books.refused(content, day=date(2026, 3, 4)) == [("day", "statement.day")]
    assert books.take(content, 1, "100.50", sha256=hashlib.sha256(content).hexdigest()).rows == 1


def test_an_institution_tells_its_own_shares_or_wholes_but_not_both(books: Books) -> None:
    shares = a_csv(a_row(1, payer=BASIC), a_row(1, payer=CRITICAL, institution=""))
    both = a_csv(a_row(1, payer=BASIC), a_row(2))
    others = a_csv(a_row(1, institution=OTHER_HOSPITAL))

    assert books.take(shares, 2, "201.00", party=HOSPITAL).rows == 2
    assert books.refused(both, 2, "201.00", party=HOSPITAL) == [("payer", "statement.payer")]
    assert books.refused(others, party=HOSPITAL) == [("row 2, institution", "institution.unknown")]


def a_workbook(path: Path, *rows: tuple[Any, ...]) -> bytes:
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                sheet.write(number, column, value)
    return path.read_bytes()


def test_a_workbook_says_the_same(books: Books) -> None:
    rows = [
        ("结算单号", "总金额", "支付金额", "医疗机构编码", "at"),
        ("S-1", 300, 0.1 + 0.2, HOSPITAL, datetime(2026, 3, 2, 9, 15)),
        (20_002, "300.00", 100.5, HOSPITAL, "2026-03-02T09:15:00+08:00"),
    ]

    answer = books.take(a_workbook(books.folder / "day.xlsx", *rows), 2, "100.80", name="day.xlsx")

    found = [(number, amount, at) for _, _, _, number, *_, amount, _, _, at in books.lines(answer.statement_id)]
    at = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
    assert found == [("S-1", 30, at), ("20002", 10_050, at)]
    wrong = a_workbook(
        books.folder / "w.xlsx", ("reference", "amount"), ("R-1", "=1+1"), ("R-2", "1"), ("", ""), ("R", 1)
    )
    assert books.refused(wrong, name="w.xlsx") == [("file", "file.invalid")]


def test_the_national_file_of_a_payer_names_its_own_numbers(books: Books) -> None:
    content = a_zip(
        "A-1\tM-1\tP-1\t300.00\t225.00\t10.00\t0\tnull",
        "A-2\tM-1\tP-1\t300.00\t225.00\tnull\t0\tnull",
        "A-2\tM-1\tP-1\t-300.00\t-225.00\t0\t1\tnull",
    )

    answer = books.take(content, 3, "225.00", party=BASIC, name="day.zip")

    assert [(line[1], line[2], *line[4:11]) for line in books.lines(answer.statement_id)] == [
        ("settle", "", BASIC, "", "A-1", 30_000, 22_500, 1_000, 0),
        ("settle", "", BASIC, "", "A-2", 30_000, 22_500, 0, 0),
        ("refund", "", BASIC, "", "A-2", -30_000, -22_500, 0, 0),
    ]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: a_zip("0" * (16 * 1024**2)),
    "two files": lambda: _two_files(),
    "a way out": lambda: a_zip("x", name="../detail.txt"),
    "another content": lambda: a_zip("x", name="detail.exe"),
    "half a zip": lambda: a_zip("A-1\t" * 100)[:60],
    "too few columns": lambda: a_zip("A-1\tM-1\tP-1\t1\t1\t0"),
    "too many columns": lambda: a_zip("A-1\tM-1\tP-1\t1\t1\t0\t0\tx\ty"),
    "no UTF-8": lambda: _a_zip_of(b"A-1\t\xff\tP-1\t1\t1\t0\t0\tx\n"),
}


def _two_files() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "")
        archive.writestr("b.txt", "")
    return packed.getvalue()


def _a_zip_of(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", content)
    return packed.getvalue()


def test_hostile_archives_are_refused(books: Books) -> None:
    for name, make in HOSTILE.items():
        assert books.refused(make(), party=BASIC, name="day.zip") == [("file", "file.invalid")], name


def test_a_quote_in_a_national_row_stays_in_its_place(books: Books) -> None:
    rows = a_zip('A"1\tM\tP\t1.00\t1.00\t0\t0\tnull', "A-2\tM\tP\t1.00,9\t1.00\t0\t0\tnull")

    assert books.refused(rows, 2, "2.00", party=BASIC, name="day.zip") == [
        ("row 1, reference", "string_pattern_mismatch"),
        ("row 2, total", "money"),
    ]


def a_message(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A statement as a party sends it."""
    line = {"institution": HOSPITAL, "reference": "R-1", "amount": "100.50", "at": "2026-03-02T09:15:00+08:00"}
    told = [line | more for more in lines]
    total = yuan_of(sum(signed_fen_of(each["amount"]) for each in told))
    return {"party": CRITICAL, "day": f"{DAY}", "count": len(told), "total": total, "lines": told} | changes


def test_a_statement_by_message_and_by_http(database_url: str) -> None:
    upload = Transaction.STATEMENT_UPLOAD
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE) as world:
        world.clock.advance(86_400)

        def said(message: dict[str, Any], party: str = CRITICAL) -> Taken:
            return world.send(upload, message, party=party)

        def why(message: dict[str, Any], party: str = CRITICAL) -> tuple[str, list[tuple[str, str]]]:
            error = said(message, party).error
            assert error is not None
            return error.code, [(one.field, one.code) for one in getattr(error, "violations", ())]

        first, second = said(a_message({}, {"reference": "R-2"})), said(a_message({}, {"reference": "R-2"}))
        assert (first.error, first.repeated, second.repeated, first.answer) == (None, False, True, second.answer)
        assert why(a_message({}), BASIC) == ("party.forbidden", [])
        assert why(a_message({"payer": BASIC})) == ("statement.refused", [("lines[0].payer", "payer.unknown")])
        assert why(a_message({}, count=2)) == ("statement.refused", [("count", "statement.count")])
        assert why(a_message({}, total="1.00")) == ("statement.refused", [("total", "statement.total")])
        assert why(a_message({"at": "2026-02-27T09:15:00+08:00"}))[1] == [("lines[0].at", "statement.day")]
        assert why(a_message({}, day="0001-01-01")) == ("statement.refused", [("day", "statement.day")])
        assert why(a_message({"amount": "-1.00"}))[1] == [("lines[0].amount", "statement.sign")]

        port = world.hub.gateway.port
        path = f"/api/v1/statements/{DAY}?count=1&total=100.50"
        content, csv = a_csv(a_row(1, institution="", reference="")), {"Content_Type": "text/csv; charset=utf-8"}
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        hospital, insurer = Client(port), Client(port, CRITICAL)
        taken = hospital.request("PUT", path, content, **csv, Content_Digest=f"sha-256=:{digest}:")
        again = hospital.request("PUT", path, iter([content[:40], content[40:]]), **csv)
        assert (taken.status, again.body) == (200, taken.body)
        assert (taken.json["party"], taken.json["rows"]) == (HOSPITAL, 1)
        refusals = [
            insurer.request("PUT", path, a_csv(a_row(amount="x")), **csv),
            insurer.request("PUT", f"{path}&party={HOSPITAL}", content, **csv),
            insurer.request("PUT", path, content, **csv, Content_Digest=f"sha-256=:{digest.replace(digest[0], '/')}:"),
            insurer.request("PUT", path, content, **csv, Content_Digest="sha-256=:x:"),
            insurer.request("PUT", path.replace("count=1", "count=-1"), content, **csv),
            insurer.request("PUT", "/api/v1/statements/today?count=1&total=1", content, **csv),
            insurer.request("PUT", path, content),
            insurer.request("PUT", path, content, **csv, Authorization=""),
        ]
        assert [one.status for one in refusals] == [422, 403, 422, 400, 422, 422, 415, 401]
        assert refusals[0].json["errors"][0]["field"] == "row 2, amount"
        states = [(one.key.party, one.state, one.rows) for one in _listed(database_url)]
        assert states.count((CRITICAL, "standing", 2)) == states.count((HOSPITAL, "standing", 1)) == 1
        assert len(states) == 10


def _listed(database_url: str) -> list[statements.Stored]:
    engine = open_engine(database_url, pool_size=1)
    with engine.connect() as connection:
        found = statements.listed(connection)
    engine.dispose()
    return found


def test_the_command_takes_lists_and_refuses(database_url: str, tmp_path: Path) -> None:
    environment = {"HUB_DATABASE_URL": database_url, "HUB_PERSON_KEY_SECRET": "p" * 32, "COLUMNS": "160"}
    put_in_force(database_url, a_rule_book_text(BASIC_RULE, CRITICAL_RULE))
    path = tmp_path / "day.csv"
    path.write_bytes(a_csv(a_row(1), a_row(2)))
    header = {"party": CRITICAL, "day": f"{DAY}", "count": 2, "total": "201.00"}
    (tmp_path / "day.csv.json").write_bytes(orjson.dumps(header))

    def ran(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["recon", *arguments], env=environment)
        return done.exit_code, done.output

    code, said = ran("import", str(path), "--by", "li", "--json")
    assert (code, orjson.loads(said)["rows"]) == (0, 2)
    options = ["--party", CRITICAL, "--day", f"{DAY}", "--count", "3", "--total", "201.00"]
    code, said = ran("import", str(path), *options)
    assert (code, "2 lines are there, 3 were declared" in said) == (1, True)
    assert ran("import", str(path), *options[:4], "--count", "1", "--total", "1e3")[0] == 2
    line = {"institution": HOSPITAL, "reference": "R-1", "amount": "201.00"}
    message = tmp_path / "message.json"
    message.write_bytes(orjson.dumps(header | {"count": 1, "lines": [line]}))
    code, said = ran("import", str(message), "--json")
    assert (code, orjson.loads(said)["rows"]) == (0, 1)
    code, said = ran("import", str(message), "--party", BASIC)
    assert (code, f"message.json is about {CRITICAL}/daily" in said) == (2, True)
    message.write_bytes(orjson.dumps(header | {"lines": [line]}))
    code, said = ran("import", str(message))
    assert (code, "1 line is there, 2 were declared" in said) == (1, True)
    for typed in (
        ["--count", "3"],
        ["--total", "200.00"],
        ["--count", "2", "--total", "1", "--declared", f"{path}.json"],
    ):
        code, said = ran("import", str(path), *typed)
        assert (code, "declares 2 lines and 201.00 yuan" in said) == (2, True)
    code, said = ran("import", str(path), "--party", BASIC)
    assert (code, f"day.csv.json is about {CRITICAL}" in said) == (2, True)
    code, said = ran("statements", "--day", f"{DAY}")
    assert (code, "standing" in said, "was refused:" in said, "2 lines are there" in said) == (0, True, True, True)


def test_the_file_of_3202_is_the_statement_of_its_day(database_url: str) -> None:
    institutions = [{"code": HOSPITAL, "name": "一院", "region": REGION, "visits": "optional"}]
    with a_hub(database_url, parties=[BASIC_PARTY], institutions=institutions) as world:
        insured(world)
        his = NationalHis(world.hub.gateway.port)
        settled = his.settle(his.charged(30_000), 30_000)["setlinfo"]
        today = settled["setl_time"][:10]

        def compared(day: str, rows: list[list[str]], total: float, fund: float) -> tuple[str, list[str]]:
            """The warning, and what differs."""
            upload = {"in": national_zip(rows), "filename": "d.zip", "fixmedins_code": HOSPITAL}
            number = his.done("9101", {"fsUploadIn": upload})["data"]["file_qury_no"]
            facts = {"setl_optins": REGION, "clr_type": "11", "stmt_begndate": day, "stmt_enddate": day}
            sums = {"medfee_sumamt": total, "fund_pay_sumamt": fund, "fixmedins_setl_cnt": len(rows)}
            asked = {**facts, **sums, "file_qury_no": number, "cash_payamt": 0, "refd_setl_flag": "0"}
            answer = his.ask("3202", {"data": asked})
            found = answer["output"]["fileinfo"]
            named = {"file_qury_no": found["file_qury_no"], "filename": found["filename"], "fixmedins_code": HOSPITAL}
            file = his.post(his.envelope("9102", {"fsDownloadIn": named}))
            result = zipfile.ZipFile(io.BytesIO(file.body)).read("result.txt").decode()
            return answer.get("warn_msg", ""), [line.split("\t")[2] for line in result.splitlines()]

        row = [settled["setl_id"], settled["mdtrt_id"], PERSON, "300.00", "225.00", "0.00", "0", "null"]
        unknown = ["S-2", "null", PERSON, "10.00", "5.00", "0.00", "0", "null"]
        refund = [*row[:3], "-300.00", "-225.00", "0.00", "1", "null"]
        assert compared(today, [row], 300, 225) == ("", [])
        assert compared(today, [row, unknown], 310, 230) == ("", ["S-2"])
        his.done("2208", {"data": {"setl_id": row[0], "mdtrt_id": row[1], "psn_no": PERSON}})
        assert compared(today, [row, refund], 0, 0) == ("", [])
        assert compared(today, [refund], -300, -225) == ("", [])
        with world.database.begin() as connection:
            first, *others = reversed(statements.listed(connection))
            lines = text("SELECT kind, settlement_no, reference, amount_fen FROM statement_line ORDER BY statement_id")
            kept = [tuple(line) for line in connection.execute(lines)]
            a_run(connection, HOSPITAL, date.fromisoformat(today), "signed_off")
        number = settled["medins_setl_id"]
        assert (first.key.party, first.came.form, [one.state for one in others]) == (
            HOSPITAL, "national", ["replaced", "replaced", "standing"])  # fmt: skip
        assert kept[:3] == [
            ("settle", number, "", 22_500),
            ("settle", number, "", 22_500),
            ("settle", "", "S-2", 500),
        ]
        assert kept[3:] == [("settle", number, "", 22_500), *[("refund", number, "", -22_500)] * 2]
        warning, differs = compared(today, [unknown], 10, 5)
        assert ("已签结" in warning, sorted(differs)) == (True, ["S-2"])


def test_a_national_file_names_our_cases(database_url: str, books: Books) -> None:
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE, running=False) as world:
        case_id = world.settle().case_id
        world.pump()
        reference = next(leg.payer_reference for leg in world.case(case_id).legs if leg.payer == BASIC)
    number = short_number(case_id)
    row = f"{number}\tM\tP\t300.00\t225.00\t0\t0\tnull"

    answer = books.take(a_zip(row, row.replace(number, "S-9")), 2, "450.00", party=HOSPITAL, name="day.zip")
    payers = books.take(a_zip(row.replace(number, reference)), 1, "225.00", party=BASIC, name="day.zip")

    assert [(line[2], line[3], line[4], line[6]) for line in books.lines(answer.statement_id)] == [
        (HOSPITAL, "S-1", "", ""),
        (HOSPITAL, "", "", "S-9"),
    ]
    assert [(line[2], line[6]) for line in books.lines(payers.statement_id)] == [(HOSPITAL, reference)]
