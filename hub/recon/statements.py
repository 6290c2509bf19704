"""Statements in: a party's books of one day, taken whole or refused whole with what is wrong where.

By message (`take_statement`) or as a file of up to ten million lines (`take_file`), which goes to the database as a
stream. The same content again is answered again; other content of the same day takes the place of what stood, until the
day is signed off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hub.imports.layout import InvalidFile
from hub.recon.forms import Chunks, Form, form_of
from hub.work import WorkUnits
from routing.days import CHINA_STANDARD_TIME, FIRST_DAY, day_of
from routing.rulebook import RuleBook
from routing.schemes import Scheme
from schemas.counting import how_many
from schemas.errors import Conflict, HubError, InvalidMessage, Violation
from schemas.money import yuan_of
from schemas.statement import Statement, StatementAnswer, StatementHeader, StatementLine
from store import statements
from store.database import database_is_away
from store.statements import Came, Key, Known, Stored, Sums

PROBLEMS_MAX = 20
_LINE = re.compile(r", line (\d+)")
_ROW = re.compile(r"row \d+(, [a-z_]+)?")
_REMEDIES = {
    "enum": "write settle or refund",
    "institution.unknown": "name an institution that this party may tell of, by its code",
    "payer.unknown": "name a payer of the rule book, by its code",
    "string_pattern_mismatch": "use at most 64 letters, digits and . _ : -, and no spaces",
    "statement.key": "name the settlement by settlement_no, request_id or reference",
    "money": "write yuan with at most two decimals and nothing between the digits, such as -1234.50",
    "missing": "fill in what the payers bear, as a value and not as a formula",
    "statement.sign": "above zero for a settlement, below for a refund",
    "datetime": "write the moment as 2026-01-31T09:30:00+08:00, or as 2026/1/31 9:30 where it is China's",
    "statement.day": "lies on another day than the statement's: send it with the statement of its own day",
}
_STRUCTURE = (
    "the number of columns or the quotes are wrong: is the row empty, a separator inside a value, a quote left open, "
    "or the file only half there?"
)
_ENCODING = "is no text in UTF-8; save the file as CSV UTF-8"


class StatementRefused(InvalidMessage):
    """Nothing of the statement is on record."""

    code = "statement.refused"


def take_statement(
    work_units: WorkUnits,
    book: RuleBook,
    statement: Statement,
    *,
    sha256: str,
    form: str,
    source: str,
    by: str,
    now: datetime,
) -> StatementAnswer:
    """Put a statement on record. StatementRefused says what is wrong with it; Conflict: the day is signed off."""
    key = Key(statement.party, statement.scheme, statement.day)
    came = Came(form, source, sha256, by, now)
    try:
        scope = scope_of(book, key, now)
        with work_units.begin("statement") as work:
            return take_lines(work.connection, scope, key, came, statement.lines, (statement.count, statement.total))
    except HubError as error:
        remember_refusal(work_units, book, key, came, error, len(statement.lines))
        raise


def remember_refusal(
    work_units: WorkUnits, book: RuleBook, key: Key, came: Came, error: HubError, rows: int = 0
) -> None:
    """Write down that a statement was refused, and why; of nobody that is known nothing is written."""
    with work_units.begin("statement-refused") as work:
        _remember(work.connection, book, key, came, error, rows)


def take_lines(
    connection: Connection,
    scope: Scope,
    key: Key,
    came: Came,
    lines: Sequence[StatementLine],
    declared: tuple[int, int],
) -> StatementAnswer:
    """The same inside a transaction, with lines in memory; `declared` are count and total in fen."""
    statements.hold(connection, key)
    if (earlier := statements.of_content(connection, key, came.sha256)) is not None:
        return _answer(earlier)
    _refuse_if_signed_off(connection, key)
    lines = [scope.completed(line) for line in lines]
    found = list(_problems_of(scope, lines))
    if found:
        raise _refusal(found[:PROBLEMS_MAX], len(found))
    sums = Sums(len(lines), sum(line.amount for line in lines), None, None, sum(1 for line in lines if line.payer))
    _check_sums(sums, declared)
    statement_id, _ = statements.add(connection, key, came)
    statements.add_lines(connection, statement_id, lines)
    return _finished(connection, scope, statement_id, sums)


def take_file(
    engine: Engine,
    book: RuleBook,
    path: Path,
    header: StatementHeader,
    *,
    by: str,
    now: datetime,
    source: str = "",
    again: bool = False,
) -> StatementAnswer:
    """Put a file's statement on record, as `take_statement`. `source` is what to call it, else the file's name.

    `again`: content that came before and was replaced shall stand again.
    """
    key = Key(header.party, header.scheme, header.day)
    came = Came(path.suffix.lower().removeprefix("."), source or path.name, "", by, now)
    try:
        scope = scope_of(book, key, now)
        form = form_of(path, institutions=scope.is_institution, header=header)
        came = Came(form.name, came.source, "", by, now)
        order = _Order(form, header, key, scope, came, again)
        with _told_by_line(engine, order), engine.connect() as connection, connection.begin():
            return _take_staged(connection, order)
    except InvalidFile as error:
        refusal = StatementRefused(_SAID, *map(_of_file, error.complaints))
        _remember_file(engine, book, key, came, path, refusal)
        raise refusal from None
    except HubError as error:
        _remember_file(engine, book, key, came, path, error)
        raise


def _of_file(complaint: str) -> Violation:
    row, colon, remedy = complaint.partition(": ")
    in_row = bool(colon) and _ROW.fullmatch(row) is not None
    return Violation(row if in_row else "file", "file.invalid", remedy if in_row else complaint)


@dataclass(frozen=True, slots=True)
class Scope:
    """What lines of a party may say. `window`: the moments that they may have, where its scheme binds them to a day."""

    party: str
    is_institution: bool
    institutions: frozenset[str]
    payers: frozenset[str]
    window: tuple[datetime, datetime] | None

    def completed(self, line: StatementLine) -> StatementLine:
        """A payer's line is about its own share, whether it says so or not."""
        if self.is_institution or line.payer is not None:
            return line
        return line.model_copy(update={"payer": self.party})

    def known(self, *, institution_may_lack: bool) -> Known:
        """The same for lines in the database."""
        return Known(
            tuple(sorted(self.institutions)),
            tuple(sorted(self.payers)),
            institution=self.party if self.is_institution else "",
            payer="" if self.is_institution else self.party,
            institution_may_lack=institution_may_lack,
        )


def scope_of(book: RuleBook, key: Key, now: datetime) -> Scope:
    """What statements of this party may say; StatementRefused for nobody, no such scheme, or a day that is to come."""
    schemes = {scheme.code: scheme for scheme in book.schemes_of(key.party)}
    if not schemes:
        raise _refusal([("party", "party.unknown", "use the code of a payer or an institution of the rule book")], 1)
    if key.scheme not in schemes:
        raise _refusal([("scheme", "scheme.unknown", f"use one of {', '.join(sorted(schemes))}")], 1)
    if key.day < FIRST_DAY:
        raise _refusal([("day", "statement.day", "no books go back that far: write the day as 2026-01-31")], 1)
    if key.day > day_of(now):
        raise _refusal([("day", "statement.day", "the day is still to come")], 1)
    window = _window(schemes[key.scheme], key)
    if key.party in book.institution_by_code:
        return Scope(key.party, True, frozenset({key.party}), frozenset(book.party_by_code), window)
    return Scope(key.party, False, frozenset(book.institution_by_code), frozenset({key.party}), window)


def _window(scheme: Scheme, key: Key) -> tuple[datetime, datetime] | None:
    if scheme.day != "settlement":
        return None
    around = timedelta(days=scheme.cut_off_days)
    midnight = datetime.combine(key.day, time(), CHINA_STANDARD_TIME)
    return midnight - around, midnight + around + timedelta(days=1, microseconds=-1)


@dataclass(frozen=True, slots=True)
class _Order:
    """One file and what it must be."""

    form: Form
    header: StatementHeader
    key: Key
    scope: Scope
    came: Came
    again: bool

    @property
    def known(self) -> Known:
        return self.scope.known(institution_may_lack=self.form.name == "national")

    def row(self, line: int) -> str:
        return f"row {self.form.first_row + line - 1}"


def _take_staged(connection: Connection, order: _Order) -> StatementAnswer:
    """The whole of it in one transaction. _NotRight when lines are wrong: which, is to be asked."""
    statements.begin(connection)
    staged = _stage(connection, order, typed=True)
    digest = order.form.sha256()
    if order.header.sha256 not in (None, digest):
        raise _refusal([("sha256", "statement.sha256", "the file is not the one that was declared: send it again")], 1)
    statements.hold(connection, order.key)
    if (earlier := statements.of_content(connection, order.key, digest)) is not None:
        _check_sums(Sums(earlier.rows, earlier.total_fen, None, None, 0), (order.header.count, order.header.total))
        return _answer(_restored(connection, order, earlier))
    _complete_national(connection, order)
    came = Came(order.came.form, order.came.source, digest, order.came.by, order.came.at)
    statement_id, _ = statements.add(connection, order.key, came)
    if statements.move(connection, statement_id, order.known) != staged:
        raise _NotRight
    sums = statements.sums(connection, statement_id)
    if not sums.in_bounds:
        raise _NotRight
    _check_sums(sums, (order.header.count, order.header.total))
    _check_moments(connection, order, statement_id, sums)
    _refuse_if_signed_off(connection, order.key)  # at last: whoever wants to sign off waits for us from here on
    return _finished(connection, order.scope, statement_id, sums)


def _restored(connection: Connection, order: _Order, earlier: Stored) -> Stored:
    if earlier.state == "standing" or not order.again:
        return earlier
    _refuse_if_signed_off(connection, order.key)
    statements.stand_again(connection, order.key, earlier.statement_id)
    found = statements.by_id(connection, earlier.statement_id)
    assert found is not None
    return found


def _complete_national(connection: Connection, order: _Order) -> None:
    if order.form.name != "national":
        return
    (statements.name_cases if order.scope.is_institution else statements.name_legs)(connection, order.key.party)


def _stage(connection: Connection, order: _Order, *, typed: bool) -> int:
    statements.open_staging(connection, typed=typed)
    with order.form.opened() as chunks:
        try:
            return statements.stage(connection, order.form.columns, order.form.separator, chunks, typed=typed)
        except DBAPIError:
            _raise_own(chunks)
            raise


def _raise_own(chunks: Chunks) -> None:
    """What went wrong while the file was read, of which the driver's error only says that it did."""
    if chunks.failure is not None:
        raise chunks.failure from None


class _NotRight(Exception):
    """Lines are wrong, and which is not known yet."""


@contextmanager
def _told_by_line(engine: Engine, order: _Order) -> Iterator[None]:
    """Turns a transaction that broke on its lines into a refusal that names them."""
    try:
        yield
        return
    except _NotRight:
        pass
    except DBAPIError as error:
        if database_is_away(error) or not _about_data(error):
            raise
    raise _diagnosed(engine, order) from None


def _about_data(error: DBAPIError) -> bool:
    return str(getattr(error.orig, "pgcode", "")).startswith(("22", "23514"))


def _diagnosed(engine: Engine, order: _Order) -> StatementRefused:
    """Everything is read once more, as text, and looked at line by line."""
    try:
        with engine.connect() as connection, connection.begin():
            statements.begin(connection)
            _stage(connection, order, typed=False)
            _complete_national(connection, order)
            total, found = statements.problems(connection, order.known, PROBLEMS_MAX)
    except DBAPIError as error:
        if database_is_away(error) or not _about_data(error):
            raise
        return _unreadable(order, error)
    told = [(f"{order.row(line)}, {field}", code, _REMEDIES[code]) for line, field, code in found]
    return _refusal(told or [("file", "file.invalid", "a value is not as it should be: see the columns' forms")], total)


def _unreadable(order: _Order, error: DBAPIError) -> StatementRefused:
    diagnosis = getattr(error.orig, "diag", None)
    found = _LINE.search(getattr(diagnosis, "context", None) or "")
    where = order.row(int(found[1])) if found else "file"
    wrong_text = getattr(error.orig, "pgcode", "") in ("22021", "22P05")
    return _refusal([(where, "file.invalid", _ENCODING if wrong_text else _STRUCTURE)], 1)


def _check_moments(connection: Connection, order: _Order, statement_id: int, sums: Sums) -> None:
    window = order.scope.window
    if window is None or sums.first_at is None or sums.last_at is None:
        return
    if window[0] <= sums.first_at and sums.last_at <= window[1]:
        return
    total, lines = statements.far_moments(connection, statement_id, *window, PROBLEMS_MAX)
    raise _refusal([(f"{order.row(line)}, at", "statement.day", _REMEDIES["statement.day"]) for line in lines], total)


def _problems_of(scope: Scope, lines: Sequence[StatementLine]) -> Iterator[tuple[str, str, str]]:
    for index, line in enumerate(lines):
        if line.institution not in scope.institutions:
            yield f"lines[{index}].institution", "institution.unknown", _REMEDIES["institution.unknown"]
        if line.payer is not None and line.payer not in scope.payers:
            yield f"lines[{index}].payer", "payer.unknown", _REMEDIES["payer.unknown"]
        if scope.window and line.at and not scope.window[0] <= line.at <= scope.window[1]:
            yield f"lines[{index}].at", "statement.day", _REMEDIES["statement.day"]


def _check_sums(sums: Sums, declared: tuple[int, int]) -> None:
    """StatementRefused unless count and total are as declared and all lines, or none, name the payer."""
    count, total = declared
    found = []
    if sums.rows != count:
        said = f"{how_many(sums.rows, 'line is', 'lines are')} there, {how_many(count, 'was', 'were')} declared"
        found.append(("count", "statement.count", said))
    if sums.total_fen != total:
        said = f"the amounts come to {yuan_of(sums.total_fen)}, {yuan_of(total)} were declared"
        found.append(("total", "statement.total", said))
    if 0 < sums.with_payer < sums.rows:
        said = "name the payer in every line (shares) or in none (settlements as wholes)"
        found.append(("payer", "statement.payer", said))
    if found:
        raise _refusal(found, len(found))


def _finished(connection: Connection, scope: Scope, statement_id: int, sums: Sums) -> StatementAnswer:
    by_payer = sums.with_payer > 0 or not scope.is_institution
    statements.measured(connection, statement_id, sums, by_payer=by_payer)
    stored = statements.by_id(connection, statement_id)
    assert stored is not None
    return _answer(stored)


def _answer(stored: Stored) -> StatementAnswer:
    return StatementAnswer(
        party=stored.key.party,
        scheme=stored.key.scheme,
        day=stored.key.day,
        statement_id=stored.statement_id,
        sha256=stored.came.sha256,
        rows=stored.rows,
        total=stored.total_fen,
        replaced=stored.replaces,
        standing=stored.state == "standing",
        received_at=stored.came.at,
    )


def _refuse_if_signed_off(connection: Connection, key: Key) -> None:
    if statements.signed_off(connection, key):
        raise Conflict(
            "the day is signed off: its statement stays what it is; send what changed with a later day",
            code="statement.signed_off",
            party=key.party,
            day=key.day.isoformat(),
        )


_SAID = "nothing of it is on record"


def _refusal(found: Sequence[tuple[str, str, str]], total: int) -> StatementRefused:
    listed = f"; the first {len(found)} are listed" if total > len(found) else ""
    told = f"{_SAID}: {total} problems{listed}" if total > 1 else _SAID
    return StatementRefused(told, *(Violation(*one) for one in found))


def _remember_file(engine: Engine, book: RuleBook, key: Key, came: Came, path: Path, error: HubError) -> None:
    from hub.imports.source import sha256_of

    came = Came(came.form, came.source, sha256_of(path), came.by, came.at)
    with engine.begin() as connection:
        _remember(connection, book, key, came, error)


def _remember(connection: Connection, book: RuleBook, key: Key, came: Came, error: HubError, rows: int = 0) -> None:
    """Write down that a statement of a party of ours was refused, and why."""
    if not book.schemes_of(key.party):
        return
    violations = error.violations if isinstance(error, InvalidMessage) else ()
    told = [one.as_dict() for one in violations[:PROBLEMS_MAX]]
    whole = {"field": "statement", "code": error.code, "remedy": error.message}
    statements.refuse(connection, key, came, told or [whole], rows)
