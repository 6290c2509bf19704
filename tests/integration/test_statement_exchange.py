"""Statements out, as files that can be read again, and payers' statements that the hub asks for."""

from __future__ import annotations

import base64
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest
import urllib3
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from hub.books import RuleBooks
from hub.cli.app import app
from hub.gateway.identity import token_for
from hub.recon.case_by_case import ONLY_OURS
from hub.recon.outgoing import export
from hub.recon.pulling import Pulling, pulled_schemes
from hub.recon.runs import Runs
from hub.recon.statements import StatementRefused, take_file
from hub.recon.writers import SUFFIXES, Form
from routing.days import day_of
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from sandbox.faults import Fault, FaultKind
from sandbox.parties import BASIC, CRITICAL_ILLNESS, HENGAN, REGION
from sandbox.parties_dialects import NATIONAL_BASIC, YONGTAI
from sandbox.rules import rule_book
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from sandbox.statements import FaultKind as Wrong
from sandbox.statements import StatementFault
from schemas.codes import VisitKind
from schemas.errors import Conflict, InvalidMessage, OutcomeUnknown, Unavailable
from schemas.money import signed_fen_of
from schemas.statement import Statement, StatementHeader
from schemas.transactions import Transaction
from store import payers, statements
from store.database import open_engine
from tests.support.dialect_payers import a_stay
from tests.support.hub_in_process import TOKEN_SECRET, TestHub, a_hub
from tests.support.national_region import INSTITUTION, a_bill
from tests.support.sandbox_builders import cases

STAYS = 6
A_STAY = a_stay()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(volatile=True)) as started:
        for app in started.cast.apps.values():
            app.statement_rows_max = 2
        yield started


class Lived:
    """A hub with a few settlements of today, one of them undone, and an engine for whole days."""

    def __init__(self, hub: TestHub, engine: Engine) -> None:
        self.hub = hub
        self.engine = engine
        self.books = RuleBooks(engine, hub.clock)
        self.day = day_of(hub.clock.now())

    @property
    def book(self):
        return self.books.active().book

    def pulling(self) -> Pulling:
        return Pulling(self.engine, self.books, self.hub.clock, self.hub.hub.payers.__getitem__, sleep=lambda _: None)

    def pull(self, party: str):
        return self.pulling().pull(party, "daily", self.day, "li")

    def export(self, party: str, path: Path, form: Form = Form.CSV, **how) -> StatementHeader:
        return export(self.engine, self.book, party, self.day, form, path, **how)

    def take(self, path: Path, header: StatementHeader):
        return take_file(self.engine, self.book, path, header, by="li", now=self.hub.clock.now())

    def lines(self, statement_id: int) -> set[tuple[object, ...]]:
        """A statement's lines without what only one side keeps: its own moment, and the bill of a payer's line."""
        query = text(
            "SELECT kind, institution, settlement_no, payer, request_id, reference, amount_fen, account_fen "
            "FROM statement_line WHERE statement_id = :id"
        )
        with self.engine.connect() as connection:
            return {tuple(row) for row in connection.execute(query, {"id": statement_id})}


class Kept:
    """A rule book that stays in force."""

    def __init__(self, book: RuleBook) -> None:
        self.book = book

    def active(self) -> Kept:
        return self


class Changing:
    """An adapter whose payer books something between the first page and the second, so many times."""

    def __init__(self, adapter, changes: int) -> None:
        self._adapter = adapter
        self._changes = changes

    def __getattr__(self, name: str):
        return getattr(self._adapter, name)

    def decode_statement(self, question, answer):
        page = self._adapter.decode_statement(question, answer)
        if question.page == 1 or not self._changes:
            return page
        self._changes -= 1
        return page.model_copy(update={"count": page.count + 1})


@pytest.fixture(scope="module")
def day_lived(shelf, sandbox) -> Iterator[Lived]:
    bills = [one for one in cases(60) if one.visit_kind == "inpatient"][:STAYS]
    book = rule_book(sandbox.endpoints(), [], valid_from=date(2026, 1, 1))
    book["institutions"] = [
        {"code": code, "name": code, "region": REGION} for code in sorted({bill.institution for bill in bills})
    ]
    with shelf.database() as url, a_hub(url, running=False, **book) as hub:
        engine = open_engine(url, by_key=False)
        for bill in bills:
            hub.send(Transaction.SETTLE, bill.body, party=bill.institution)
        hub.pump()
        hub.send(Transaction.CANCEL, bills[0].cancel_body(), party=bills[0].institution)
        hub.pump()
        yield Lived(hub, engine)
        engine.dispose()


@pytest.fixture
def lived(day_lived, sandbox) -> Iterator[Lived]:
    """One day for all tests; none of them settles anything."""
    yield day_lived
    for payer in (BASIC, CRITICAL_ILLNESS):
        sandbox.set_faults(payer, [])


def test_what_payers_tell_page_by_page_is_what_the_hub_has_booked(lived, tmp_path):
    for payer, rows in ((BASIC, STAYS + 1), (CRITICAL_ILLNESS, 3)):
        pulled = lived.pull(payer)
        again = lived.pull(payer)

        path = tmp_path / f"{payer}.csv"
        header = lived.export(payer, path)
        theirs = lived.lines(pulled.statement_id)
        ours = lived.lines(lived.take(path, header).statement_id)
        assert (pulled.rows, pulled.total) == (header.count, header.total)
        assert pulled.rows == rows
        assert theirs == ours
        assert again == pulled


@pytest.mark.parametrize("party", [BASIC, "institution"])
def test_what_is_written_in_any_form_is_read_again_as_it_was(lived, tmp_path, party):
    code = lived.book.institutions[0].code if party == "institution" else party
    paths = {form: tmp_path / f"out{SUFFIXES[form]}" for form in Form}
    headers = {form: lived.export(code, path, form) for form, path in paths.items()}

    canonical = Statement.model_validate_json(paths[Form.JSON].read_bytes())
    taken = {form: lived.take(paths[form], headers[form]) for form in Form if form is not Form.JSON}

    assert {(one.count, one.total) for one in headers.values()} == {(canonical.count, canonical.total)}
    assert len(canonical.lines) == canonical.count > 0
    assert {(one.rows, one.total) for one in taken.values()} == {(canonical.count, canonical.total)}
    read = {form: lived.lines(one.statement_id) for form, one in taken.items()}
    assert read[Form.CSV] == read[Form.EXCEL]
    # The national form has one number for a settlement: the payer's own, or the one that the hub gave.
    known_by = (5,) if party == BASIC else (2,)
    told = [{tuple(line[n] for n in (0, 1, *known_by, 6, 7)) for line in read[f]} for f in (Form.NATIONAL, Form.CSV)]
    assert told[0] == told[1]


def test_a_party_fetches_its_own_books_over_http_and_nobody_elses(lived, tmp_path, monkeypatch):
    gateway = lived.hub.hub.gateway
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    gateway.start()
    try:
        got = {
            code: _get(gateway.port, f"/api/v1/statements/{lived.day}?form={form}", code)
            for code, form in ((BASIC, "csv"), (CRITICAL_ILLNESS, "excel"), (HENGAN, "json"))
        }
        nobody = _get(gateway.port, f"/api/v1/statements/{lived.day}", "")
        wrong = [
            _get(gateway.port, path, BASIC)
            for path in ("/api/v1/statements/today", f"/api/v1/statements/{lived.day}?form=pdf")
        ]
        stranger = _get(gateway.port, f"/api/v1/statements/{lived.day}", "STRANGER")
        long_ago = [_get(gateway.port, f"/api/v1/statements/{day}", BASIC) for day in ("0001-01-01", "9999-12-31")]
        parts = [
            _get(gateway.port, f"/api/v1/statements/{lived.day}", BASIC, Range=wanted)
            for wanted in ("bytes=0-5", "bytes=x", "bytes=999999-", "bytes=0-0,2-2")
        ]
    finally:
        gateway.stop(2.0)

    for code, suffix in ((BASIC, ".csv"), (CRITICAL_ILLNESS, ".xlsx")):
        path = tmp_path / f"got{suffix}"
        path.write_bytes(got[code].data)
        headers = got[code].headers
        digest = base64.b64decode(headers["Content-Digest"].removeprefix("sha-256=:").removesuffix(":")).hex()
        header = StatementHeader(
            party=code,
            day=lived.day,
            count=int(headers["Statement-Count"]),
            total=signed_fen_of(headers["Statement-Total"]),
            sha256=digest,
        )
        assert header == lived.export(code, tmp_path / f"own{suffix}", Form.CSV if suffix == ".csv" else Form.EXCEL)
        assert lived.take(path, header).rows == header.count > 0
    assert Statement.model_validate_json(got[HENGAN].data).count == 0
    assert (nobody.status, stranger.status, [one.status for one in wrong]) == (401, 404, [422, 422])
    assert [one.status for one in long_ago] == [422, 422]
    # What the digest in the headers is of; and whatever is asked for, no file stays behind.
    assert [(one.status, one.data) for one in parts] == [(200, got[BASIC].data)] * 4
    assert not list(folder.iterdir())


def test_an_institutions_books_are_written_share_by_share_too(lived, tmp_path):
    code = lived.book.institutions[0].code

    whole = lived.export(code, tmp_path / "whole.csv")
    shares = lived.export(code, tmp_path / "shares.csv", by_payer=True)

    assert shares.count > whole.count
    assert shares.total == whole.total
    lines = lived.lines(lived.take(tmp_path / "shares.csv", shares).statement_id)
    assert {line[3] for line in lines} <= {BASIC, CRITICAL_ILLNESS}


def test_share_by_share_the_bill_stands_in_one_row_of_each_settlement_and_each_refund(lived, tmp_path):
    path, whole = tmp_path / "shares.zip", tmp_path / "whole.zip"
    for code in (one.code for one in lived.book.institutions):
        lived.export(code, path, Form.NATIONAL, by_payer=True)
        lived.export(code, whole, Form.NATIONAL)
        bills = [[(row[0], row[3]) for row in _rows(one) if row[3] != "0.00"] for one in (path, whole)]
        assert sorted(bills[0]) == sorted(bills[1])
        assert len(set(bills[0])) == len(bills[0]) > 0
    assert len(_rows(path)) > len(_rows(whole))


def _rows(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        return [line.split("\t") for line in archive.read("statement.txt").decode().splitlines()]


def test_a_payer_that_is_not_heard_is_asked_again(lived, sandbox):
    sandbox.set_faults(BASIC, [Fault(kind=FaultKind.HTTP_500, count=2), Fault(kind=FaultKind.LOST_ANSWER, count=1)])

    assert lived.pull(BASIC).rows == STAYS + 1

    sandbox.set_faults(BASIC, [Fault(kind=FaultKind.GARBAGE)])
    with pytest.raises((OutcomeUnknown, InvalidMessage)):
        lived.pull(BASIC)


def test_a_total_that_does_not_hold_is_refused_whole_and_remembered(lived, sandbox):
    sandbox.set_faults(CRITICAL_ILLNESS, [Fault(kind=FaultKind.WRONG_TOTAL)])

    with pytest.raises(StatementRefused) as refused:
        lived.pull(CRITICAL_ILLNESS)

    assert [one.code for one in refused.value.violations] == ["statement.total"]
    with lived.engine.connect() as connection:
        (newest,) = statements.listed(connection, party=CRITICAL_ILLNESS, limit=1)
    assert (newest.state, newest.problems[0]["code"]) == ("refused", "statement.total")


def test_books_that_change_between_two_pages_are_read_again(lived):
    payer = lived.hub.hub.payers[BASIC]

    def pulled(changes: int):
        changing = replace(payer, adapter=Changing(payer.adapter, changes))
        return Pulling(lived.engine, lived.books, lived.hub.clock, lambda _: changing, sleep=lambda _: None).pull(
            BASIC, "daily", lived.day, "li"
        )

    assert pulled(2).rows == STAYS + 1
    with pytest.raises(Unavailable) as changed:
        pulled(3)
    assert changed.value.code == "statement.changed"


def test_nobody_is_asked_who_cannot_be_or_must_not_be(lived):
    with pytest.raises(Conflict) as by_queue:
        lived.pull(HENGAN)
    with pytest.raises(Conflict) as institution:
        lived.pull(lived.book.institutions[0].code)
    turn_calls(lived, stopped=True)
    with pytest.raises(Conflict) as stopped:
        lived.pull(BASIC)
    turn_calls(lived, stopped=False)

    assert [one.value.code for one in (by_queue, institution, stopped)] == [
        "statement.not_asked",
        "statement.not_asked",
        "payer.stopped",
    ]
    assert pulled_schemes(lived.book) == []


def turn_calls(lived: Lived, *, stopped: bool) -> None:
    with lived.engine.begin() as connection:
        payers.turn(connection, BASIC, stopped=stopped, reason="test", by="li", now=lived.hub.clock.now())


def test_a_region_that_compares_and_an_insurer_asked_case_by_case_have_what_the_hub_has(database_url, tmp_path):
    engine = open_engine(database_url, by_key=False)
    with (
        Sandbox(CastSettings(volatile=True, dialects=True)) as sandbox,
        a_hub(database_url, running=False, **dialect_rule_book(sandbox.endpoints())) as hub,
    ):
        for number in range(3):
            hub.send(Transaction.SETTLE, _national_bill(f"N-{number}"), party=INSTITUTION)
            hub.send(Transaction.SETTLE, _a_stay(f"Y-{number}"), party=A_STAY.institution)
        hub.pump()
        undo = {"institution": INSTITUTION, "settlement_no": "N-0", "cancel_no": "C-1", "reason": "退费"}
        hub.send(Transaction.CANCEL, undo, party=INSTITUTION)
        hub.pump()
        lived = Lived(hub, engine)

        for payer, rows in ((NATIONAL_BASIC, 4), (YONGTAI, 3)):
            pulled = lived.pull(payer)
            run = Runs(engine, lived.books, hub.clock).run(payer, "daily", lived.day, "li")
            assert run.note == (ONLY_OURS if payer == YONGTAI else "")
            path = tmp_path / f"{payer}.csv"
            ours = lived.lines(lived.take(path, lived.export(payer, path)).statement_id)
            assert pulled.rows == rows
            assert {line[:5] + line[6:] for line in lived.lines(pulled.statement_id)} == {
                line[:5] + line[6:] for line in ours
            }

        book = lived.book
        in_fund = Scheme(party=NATIONAL_BASIC, code="with-account", account="in_fund")
        lived.books = Kept(book.model_copy(update={"reconciliation": (in_fund,)}))
        gross = lived.pulling().pull(NATIONAL_BASIC, "with-account", lived.day, "li")
        ours = lived.export(NATIONAL_BASIC, tmp_path / "gross.csv", scheme="with-account")
        assert (gross.rows, gross.total) == (ours.count, ours.total)
        lived.books = Kept(book)

        desk = sandbox.cast.apps[NATIONAL_BASIC].statements
        desk.set_faults([StatementFault(kind=Wrong.WRONG_FEN, day=lived.day)])
        assert lived.pull(NATIONAL_BASIC).total == pulled_total(lived, NATIONAL_BASIC, tmp_path) + 1
        desk.set_faults([StatementFault(kind=Wrong.ROW_MISSING, day=lived.day)])
        assert lived.pull(NATIONAL_BASIC).rows == 3
        desk.set_faults([StatementFault(kind=Wrong.STRANGER, day=lived.day)])
        assert lived.pull(NATIONAL_BASIC).rows == 5
        desk.set_faults([])
        assert lived.pull(NATIONAL_BASIC).rows == 4
    engine.dispose()


def pull_command(lived: Lived, monkeypatch, *arguments: str):
    url = lived.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    for name, value in {"DATABASE_URL": url, "PERSON_KEY_SECRET": "p" * 32, "EMBEDDED_DATABASE": "0"}.items():
        monkeypatch.setenv(f"HUB_{name}", value)
    return CliRunner().invoke(app, ["recon", "pull", "--by", "li", *arguments])


def test_several_payers_and_days_are_asked_for_at_once_each_with_a_line(lived, monkeypatch):
    yesterday = lived.day - timedelta(days=1)
    parties = ["--party", BASIC, "--party", HENGAN]

    both = pull_command(lived, monkeypatch, *parties, "--day", str(lived.day), "--day", str(yesterday))
    fine = pull_command(lived, monkeypatch, "--party", BASIC, "--day", str(yesterday), "--json")
    nothing_due = pull_command(lived, monkeypatch)

    assert both.exit_code == 1
    found = {tuple(line.split()[:2]): line for line in both.stdout.splitlines() if "/daily" in line}
    assert set(found) == {(str(day), f"{party}/daily") for day in (lived.day, yesterday) for party in (BASIC, HENGAN)}
    assert f"{STAYS + 1} lines" in found[str(lived.day), f"{BASIC}/daily"]
    assert "missing: statement.not_asked" in found[str(yesterday), f"{HENGAN}/daily"]
    assert "2 of 4 statements are here" in both.stdout
    assert fine.exit_code == 0
    assert [one["rows"] for one in orjson.loads(fine.stdout)["statements"]] == [0]
    assert (nothing_due.exit_code, nothing_due.stdout.strip()) == (0, "nothing that is due is missing")


def _get(port: int, path: str, party: str, **more: str):
    headers = {"Authorization": f"Bearer {token_for(TOKEN_SECRET, party)}"} if party else {}
    headers |= more
    return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", headers=headers, retries=False, timeout=20)


def pulled_total(lived: Lived, payer: str, folder: Path) -> int:
    return lived.export(payer, folder / "ours.csv").total


def _national_bill(settlement_no: str):
    bill = a_bill(VisitKind.OUTPATIENT, settlement_no=settlement_no, visit_no=f"V-{settlement_no}")
    return bill.model_dump_json(exclude_none=True).encode()


def _a_stay(settlement_no: str):
    message = orjson.loads(a_stay(settlement_no=settlement_no).model_dump_json(exclude_none=True))
    message["visit"]["visit_no"] = f"V-{settlement_no}"
    return message
