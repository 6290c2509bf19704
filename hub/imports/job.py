"""One import from file to rows in force: all of the file or nothing of it, and its way is written down as it goes.

The rows travel in one transaction; how far it has come is committed beside it, so that a process that is killed leaves
a note where it was, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine

from hub.imports.layout import WHOLE_ROW, InvalidFile, Layout, Line
from hub.imports.source import Source, sha256_of, source_of
from hub.master_data import PROBLEMS_MAX, set_problems
from hub.master_rows import Bringer, RowKind
from schemas.base import violations_of
from schemas.errors import Conflict
from schemas.master import Dated, RowProblem
from store import import_runs, master_data
from store.import_runs import ImportRun
from store.master_data import Applied

BATCH = 2000
NOTED_EVERY = 5 * BATCH
"""Rows after which the note of how far it is is written anew."""
_PLACE = re.compile(r"\[(\d+)\](?:\.(.*))?", re.DOTALL)
Progress = Callable[[str, int, float, int], None]
"""Phase, rows so far, the part of the file that is read (0 to 1), problems so far."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, by whom. `rows` is how many the sender says there are; `columns` replace a heading."""

    path: Path
    row_kind: RowKind
    bringer: Bringer
    operator: str = ""
    rows: int | None = None
    columns: tuple[str, ...] = ()
    sheet: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `earlier` is the import by which the very same file is in force already."""

    import_id: int | None
    rows: int = 0
    applied: Applied | None = None
    problem_count: int = 0
    problems: tuple[RowProblem, ...] = ()
    earlier: ImportRun | None = None


class _Refused(Exception):
    """Rows stand in the way: the transaction rolls back."""


@dataclass(slots=True)
class _State:
    """How far it is."""

    phase: str = "reading"
    rows: int = 0
    noted: int = 0
    problem_count: int = 0
    problems: list[RowProblem] = field(default_factory=list)

    def blame(self, found: Sequence[RowProblem]) -> None:
        self.problem_count += len(found)
        self.problems += found[: max(0, PROBLEMS_MAX - len(self.problems))]


class Importer:
    """Imports files into one database. `engine` must leave the planner its choice (`by_key=False`)."""

    def __init__(self, engine: Engine, person_secret: bytes, progress: Progress | None = None) -> None:
        self._engine = engine
        self._person_secret = person_secret
        self._tell = progress or (lambda *_: None)

    def run(self, order: Order) -> Outcome:
        """Import it. InvalidFile when the file as a whole cannot be read, Conflict when another import is at it."""
        source = source_of(order.path, order.columns, order.sheet)
        digest = sha256_of(order.path)
        kind, owner = order.row_kind.kind.name, order.bringer.code
        with self._engine.connect() as notes:
            with notes.begin():
                import_runs.bury(notes)
                earlier = import_runs.of_file(notes, kind, owner, digest)
            if earlier is not None:
                return Outcome(earlier.id, earlier.rows_read, earlier=earlier)
            with _noted(notes, order, digest) as import_id:
                return self._import(order, source, notes, import_id)

    def _import(self, order: Order, source: Source, notes: Connection, import_id: int) -> Outcome:
        state = _State()
        try:
            applied = self._in_one_transaction(order, source, notes, import_id, state)
        except _Refused:
            state.problems.sort(key=lambda problem: problem.row)
            self._end(notes, import_id, "refused", state)
            return Outcome(import_id or None, state.rows, None, state.problem_count, tuple(state.problems))
        except InvalidFile as error:
            state.blame([_problem(0, ("file", "file.invalid", complaint)) for complaint in error.complaints])
            self._end(notes, import_id, "refused", state)
            raise
        except BaseException:
            self._end(notes, import_id, "failed", state)
            raise
        return Outcome(import_id or None, state.rows, applied)

    def _in_one_transaction(
        self, order: Order, source: Source, notes: Connection, import_id: int, state: _State
    ) -> Applied:
        kind, owner = order.row_kind.kind, order.bringer.code
        with self._engine.connect() as work, work.begin() as transaction:
            master_data.begin(work)
            if not master_data.hold(work, kind, owner, wait=False):
                raise Conflict("another import of this kind is under way for the same owner", kind=kind.name)
            master_data.open_staging(work, kind)
            self._stage(work, order, source, notes, import_id, state)
            self._note(notes, import_id, state, "checking", 1.0)
            master_data.arrange(work, kind, owner)
            total, found = set_problems(work, order.row_kind, order.bringer.scope)
            state.blame(found)
            state.problem_count += total - len(found)
            if state.problem_count:
                raise _Refused
            self._note(notes, import_id, state, "storing", 1.0)
            applied = master_data.apply(work, kind, owner, order.bringer.scope, import_id)
            if order.dry_run:
                transaction.rollback()
            else:
                import_runs.done(work, import_id, state.rows, applied.new, applied.changed, applied.unchanged)
        return applied

    def _stage(
        self, work: Connection, order: Order, source: Source, notes: Connection, import_id: int, state: _State
    ) -> None:
        """Bring the good rows into the staging table and note what is wrong with the others."""
        kind = order.row_kind.kind
        with source.opened() as (headings, records):
            layout = Layout(order.row_kind, headings, dates_from_1904=source.dates_from_1904)
            for lines in _batches(layout.lines(records)):
                state.rows += len(lines)
                good, bad = judge(order.row_kind, order.bringer, lines)
                state.blame(bad)
                master_data.stage(
                    work, kind, [(number, order.row_kind.stored(row, self._person_secret)) for number, row in good]
                )
                self._note(notes, import_id, state, "reading", source.bytes_read / max(source.bytes_total, 1))
        for declared in (layout.declared, order.rows):
            if declared is not None and declared != state.rows:
                raise InvalidFile(f"{state.rows} rows are there, {declared} were declared: is a part missing?")
        if not state.rows:
            raise InvalidFile("there is no row below the heading")

    def _note(self, notes: Connection, import_id: int, state: _State, phase: str, part: float) -> None:
        if import_id and (phase != state.phase or state.rows - state.noted >= NOTED_EVERY):
            state.noted = state.rows
            with notes.begin():
                import_runs.progress(notes, import_id, phase, state.rows, state.problem_count)
        state.phase = phase
        self._tell(phase, state.rows, part, state.problem_count)

    def _end(self, notes: Connection, import_id: int, how: str, state: _State) -> None:
        if import_id:
            with notes.begin():
                import_runs.end(
                    notes,
                    import_id,
                    how,
                    rows_read=state.rows,
                    problem_count=state.problem_count,
                    problems=[problem.model_dump() for problem in state.problems],
                )


@contextmanager
def _noted(notes: Connection, order: Order, digest: str) -> Iterator[int]:
    """An import that others can see, as long as this process lives; number 0 and no trace for a dry run."""
    with ExitStack() as stack:
        import_id = 0
        if not order.dry_run:
            with notes.begin():
                import_id = import_runs.start(
                    notes,
                    kind=order.row_kind.kind.name,
                    owner=order.bringer.code,
                    source="file",
                    name=order.path.name,
                    sha256=digest,
                    operator=order.operator,
                )
                import_runs.stay_alive(notes, import_id)
            stack.callback(_rest, notes, import_id)
        yield import_id


def _rest(notes: Connection, import_id: int) -> None:
    with notes.begin():
        import_runs.rest(notes, import_id)


def judge(
    row_kind: RowKind, bringer: Bringer, lines: Sequence[Line]
) -> tuple[list[tuple[int, Dated]], list[RowProblem]]:
    """The rows that are right by themselves with their numbers, and everything that is wrong with the others."""
    problems = [_problem(line.number, one) for line in lines for one in line.problems]
    whole = [line for line in lines if not line.problems]
    for line in lines:
        if line.problems:
            problems += _what_else(row_kind, line)
    rows: list[tuple[int, Dated]] = []
    for number, row in _validated(row_kind, whole, problems):
        if found := row_kind.problems(number, row, bringer):
            problems += found
        else:
            rows.append((number, row))
    return rows, sorted(problems, key=lambda problem: problem.row)


def _validated(row_kind: RowKind, lines: Sequence[Line], problems: list[RowProblem]) -> Iterable[tuple[int, Dated]]:
    adapter = _reader(row_kind.model)
    try:
        rows = adapter.validate_python([line.values for line in lines])
        return zip((line.number for line in lines), rows, strict=True)
    except ValidationError as error:
        broken = set()
        for violation in violations_of(error):
            if found := _PLACE.fullmatch(violation.field):
                broken.add(int(found[1]))
                number = lines[int(found[1])].number
                problems.append(_problem(number, (found[2] or WHOLE_ROW, violation.code, violation.remedy)))
        kept = (line for index, line in enumerate(lines) if index not in broken)
        return [(line.number, row_kind.model.model_validate(line.values)) for line in kept]


def _what_else(row_kind: RowKind, line: Line) -> Iterator[RowProblem]:
    """What is wrong with the fields that nothing is said of yet."""
    blamed = {field for field, _, _ in line.problems}
    if WHOLE_ROW in blamed:
        return
    try:
        row_kind.model.model_validate(line.values)
    except ValidationError as error:
        for violation in violations_of(error):
            if violation.field not in blamed:
                yield _problem(line.number, (violation.field, violation.code, violation.remedy))


@cache
def _reader(model: type[Dated]) -> TypeAdapter[list[Dated]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _problem(number: int, found: tuple[str, str, str]) -> RowProblem:
    field_, code, remedy = found
    return RowProblem(row=number, field=field_, code=code, remedy=remedy)


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(islice(lines, BATCH)):
        yield batch
