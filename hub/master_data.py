"""Master data by message: uploads and imports of every kind, and who a person is to the insurers.

An upload is one transaction: all of it is in force afterwards, or nothing and the sender hears of every row that stood
in the way. Its number holds once: a repeat brings the stored answer, other content under it is a conflict. A refused
upload leaves no trace, so the corrected one may come under the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from hub.books import RuleBooks
from hub.identity import confirm
from hub.inbound import Inbound, Taken
from hub.intake import content_hash
from hub.master_rows import FAULT_REMEDIES, ROW_KIND_OF, Bringer, RowKind, bringer_of, scopes_of
from hub.ports import Clock
from hub.work import WorkUnits
from schemas.base import violations_of
from schemas.errors import Conflict, Forbidden, HubError, InvalidMessage, Violation
from schemas.master import ROWS_MAX, RowProblem, Upload, UploadAnswer
from schemas.strict_json import check_text
from schemas.transactions import SPECS, Transaction
from store import import_runs, master_data, requests
from store.master_data import Applied, RowFault
from store.master_kinds import MAPPING
from store.requests import Kept

PROBLEMS_MAX = 1000


class MasterData:
    """Takes every transaction of the group MASTER."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock, person_secret: bytes) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock
        self._person_secret = person_secret

    def take(self, inbound: Inbound) -> Taken:
        """What became of one message. Raises only when the database is away: then nothing was stored."""
        try:
            if inbound.transaction is Transaction.IDENTITY_CONFIRM:
                return self._confirm(inbound)
            return self._take_upload(inbound)
        except HubError as error:
            return Taken(error=error)

    def _confirm(self, inbound: Inbound) -> Taken:
        with self._work_units.read() as connection:
            answer = confirm(connection, inbound, self._books.active(), self._person_secret, self._clock.now())
        return Taken(answer=answer.model_dump_json(exclude_none=True).encode())

    def _take_upload(self, inbound: Inbound) -> Taken:
        row_kind = ROW_KIND_OF[inbound.transaction]
        bringer = bringer_of(self._books.active().book, inbound.party, inbound.transaction)
        upload, content = _read(inbound, row_kind, bringer)
        if upload.sender != inbound.party:
            raise Forbidden("the message names another sender than the party that speaks", party=inbound.party)
        digest = content_hash(content)
        with self._work_units.begin("master-data") as work:
            # The upload's number first: a repeat that comes at the same moment waits here and finds the answer.
            known = requests.find(work.connection, inbound.party, inbound.transaction, upload.request_no)
            if known is not None:
                return _repeated(known, digest)
            applied = self._store(work.connection, row_kind, bringer, upload, digest)
            answer = self._answer(inbound.transaction, upload, applied)
            body = b"" if row_kind.of_people else inbound.body
            requests.keep(work.connection, _kept(inbound, bringer, upload.request_no, digest, body, answer))
        return Taken(answer=answer)

    def _store(self, connection: Any, row_kind: RowKind, bringer: Bringer, upload: Upload[Any], digest: str) -> Applied:
        """The rows in force; InvalidMessage when they contradict each other or what is known."""
        kind = row_kind.kind
        master_data.begin(connection, master_data.MESSAGE_TIMEOUT_S)
        master_data.hold(connection, kind, bringer.code, wait=True)
        run = import_runs.start(
            connection, kind=kind.name, owner=bringer.code, source="message", name=upload.request_no, sha256=digest
        )
        master_data.open_staging(connection, kind)
        stored = ((number, row_kind.stored(row, self._person_secret)) for number, row in enumerate(upload.rows, 1))
        master_data.stage(connection, kind, stored)
        master_data.arrange(connection, kind, bringer.code)
        total, found = set_problems(connection, row_kind, bringer.scope)
        if total:
            raise _refusal(found, total)
        applied = master_data.apply(connection, kind, bringer.code, bringer.scope, run)
        import_runs.done(connection, run, len(upload.rows), applied.new, applied.changed, applied.unchanged)
        return applied

    def _answer(self, transaction: Transaction, upload: Upload[Any], applied: Applied) -> bytes:
        answer = UploadAnswer(
            transaction=transaction,
            sender=upload.sender,
            request_no=upload.request_no,
            taken=True,
            rows=len(upload.rows),
            new=applied.new,
            changed=applied.changed,
            unchanged=applied.unchanged,
            answered_at=self._clock.now(),
        )
        return answer.model_dump_json(exclude_none=True).encode()


def set_problems(connection: Any, row_kind: RowKind, scope: str | None) -> tuple[int, list[RowProblem]]:
    """What is wrong with the arranged rows together: how many problems, and the first of them by row."""
    total, found = master_data.faults(connection, row_kind.kind, PROBLEMS_MAX)
    if row_kind.kind is MAPPING:
        more, unknown = master_data.unknown_items(connection, scopes_of(scope) if scope else (), PROBLEMS_MAX)
        total, found = total + more, sorted([*found, *unknown], key=lambda fault: fault.row)[:PROBLEMS_MAX]
    return total, [problem_of_fault(fault) for fault in found]


def problem_of_fault(fault: RowFault) -> RowProblem:
    """A contradiction between rows, with its remedy."""
    return RowProblem(row=fault.row, field=fault.field, code=fault.code, remedy=FAULT_REMEDIES[fault.code])


def _read(inbound: Inbound, row_kind: RowKind, bringer: Bringer) -> tuple[Upload[Any], dict[str, Any]]:
    """The upload and its plain content; InvalidMessage with everything that is wrong with its rows one by one."""
    content = check_text(inbound.body)
    try:
        upload = SPECS[inbound.transaction].message.model_validate_json(inbound.body)
    except ValidationError as error:
        raise _schema_refusal(error, content, row_kind, bringer) from None
    if not isinstance(upload, Upload):
        raise InvalidMessage("not an upload")
    problems = [
        problem for number, row in enumerate(upload.rows, 1) for problem in row_kind.problems(number, row, bringer)
    ]
    if problems:
        raise _refusal(problems, len(problems))
    return upload, content


def _schema_refusal(
    error: ValidationError, content: dict[str, Any], row_kind: RowKind, bringer: Bringer
) -> InvalidMessage:
    """What breaks the schema and, of the rows that do not break it, what else is wrong."""
    violations = violations_of(error)
    broken = {detail["loc"][1] for detail in error.errors(include_url=False) if len(detail["loc"]) > 1}
    rows = content.get("rows")
    for number, raw in enumerate(rows[:ROWS_MAX] if isinstance(rows, list) else (), 1):
        if number - 1 in broken:
            continue
        row = row_kind.model.model_validate(raw)
        violations += [_violation(problem) for problem in row_kind.problems(number, row, bringer)]
    return InvalidMessage(_said(len(violations)), *violations[:PROBLEMS_MAX], code="upload.refused")


def _refusal(problems: Sequence[RowProblem], total: int) -> InvalidMessage:
    violations = [_violation(problem) for problem in problems[:PROBLEMS_MAX]]
    return InvalidMessage(_said(total), *violations, code="upload.refused")


def _said(total: int) -> str:
    listed = f"; the first {PROBLEMS_MAX} are listed" if total > PROBLEMS_MAX else ""
    return (
        f"nothing of it is in force: {total} problems{listed}" if total != 1 else "nothing of it is in force: 1 problem"
    )


def _violation(problem: RowProblem) -> Violation:
    """In a message rows are an array, so the field's path counts from 0."""
    return Violation(f"rows[{problem.row - 1}].{problem.field}", problem.code, problem.remedy)


def _repeated(known: Kept, digest: str) -> Taken:
    if known.content_hash != digest:
        raise Conflict("this request number is already used with other content", request_no=known.request_no)
    return Taken(answer=known.answer, repeated=True)


def _kept(inbound: Inbound, bringer: Bringer, request_no: str, digest: str, body: bytes, answer: bytes) -> Kept:
    return Kept(
        party=inbound.party,
        transaction=inbound.transaction,
        request_no=request_no,
        region=bringer.scope or "",
        sender=inbound.party,
        content_hash=digest,
        body=body,
        answer=answer,
        received_at=inbound.received_at,
    )
