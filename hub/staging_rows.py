"""Rows of a staging table as messages, and what became of messages as rows. Pure; refusals in plain Chinese."""

from __future__ import annotations

import re
from datetime import datetime

import orjson

from adapters.hospital.codec import write_answer
from adapters.hospital.problems import error_answer
from hub.inbound import Inbound, Taken
from hub.routes import STAGING_PREFIX
from schemas.answer import ErrorAnswer
from schemas.base import Bilingual
from schemas.codes import CaseStatus
from schemas.errors import HubError
from schemas.strict_json import BODY_MAX_BYTES
from schemas.transactions import SPECS, Channel, Transaction
from store.answers import StoredAnswer
from store.staging_table import CaseAnswer, Finished, TakenRow

SHOWN_MAX = 5
ZH_MAX = 1000
_KEY = re.compile(r"[0-9A-Za-z._:-]{1,64}", re.ASCII)
_BY_TABLE = {name.value: name for name, spec in SPECS.items() if Channel.STAGING in spec.channels}
_FOLLOWED = frozenset(
    {
        Transaction.SETTLE,
        Transaction.TRIAL,
        Transaction.ADJUDICATION_UPLOAD,
        Transaction.CANCEL,
        Transaction.REVERSE,
    }
)
"""What has a case whose later answers belong into the row; a question's answer stays as it was given."""
_UNDONE = (CaseStatus.CANCELLING.value, CaseStatus.CANCELLED.value)


def _column(column: str, code: str, zh: str, en: str) -> ErrorAnswer:
    """The refusal of a row for one of its columns."""
    violation = {"field": column, "code": code, "remedy": en, "remedy_zh": zh}
    return ErrorAnswer(
        error=code, message=Bilingual(zh="该行无法受理。", en="The row cannot be taken."), violations=(violation,)
    )


_OTHER_PARTY = _column(
    "party",
    "staging.party",
    "请填写本机构在平台的编码：本库只受理本机构的报文",
    "use your own code: the table is yours alone",
)
_NO_TRANSACTION = _column(
    "transaction",
    "transaction.unknown",
    "请填写可经中间库办理的交易名称，例如 settlement.settle",
    "use a transaction that is taken from tables, such as settlement.settle",
)
_NO_KEY = _column(
    "message_key",
    "staging.message_key",
    "请填写本报文的自有编号：1 至 64 位字母、数字或 . _ : -，重发时保持不变",
    "give your own number of the message: 1 to 64 letters, digits and . _ : -, the same in each repeat",
)
_TOO_LARGE = _column("content", "message.too_large", "报文超过 1 MiB，请分批写入", "send it in parts of 1 MiB at most")
_NO_CONTENT = _column("content", "staging.content", "请填写 JSON 报文", "fill in the message as JSON")


def message_of(row: TakenRow, party: str, now: datetime) -> Inbound | Finished:
    """The message in a row of `party`'s table, or its refusal."""
    transaction = _BY_TABLE.get(row.transaction or "")
    if row.party != party:
        return _refused(row, _OTHER_PARTY)
    if transaction is None:
        return _refused(row, _NO_TRANSACTION)
    if not _KEY.fullmatch(row.message_key or ""):
        return _refused(row, _NO_KEY)
    if row.content is None:
        return _refused(row, _TOO_LARGE if (row.bytes or 0) > BODY_MAX_BYTES else _NO_CONTENT)
    return Inbound(
        transaction=transaction,
        party=party,
        message_id=row.message_key or "",
        body=row.content.encode(),
        reply_to=f"{STAGING_PREFIX}{party}",
        received_at=now,
    )


def outcome_of(row: TakenRow, message: Inbound, taken: Taken) -> Finished:
    """What is written back to a row whose message the desk has taken or refused."""
    if taken.error is not None:
        said = error_answer(taken.error, case_id=taken.case_id or None, message_id=message.message_id)
        return _refused(row, said)
    case_id = taken.case_id if taken.case_id and message.transaction in _FOLLOWED else None
    if taken.answer is None:
        return Finished(row.id, "taken", case_id=case_id)
    told = orjson.loads(taken.answer)
    # An undo that had been done already is answered with the case as it stands; its revision counts for the row.
    return Finished(
        row.id,
        "answered",
        case_id=case_id,
        answer=taken.answer.decode(),
        revision=told.get("revision", 0),
        final=told.get("final", True),
    )


def failed(row: TakenRow, message: Inbound) -> Finished:
    """A row whose message is our own fault and will not be tried again."""
    return _refused(row, error_answer(HubError(), message_id=message.message_id))


def answer_of(stored: StoredAnswer) -> CaseAnswer:
    """A stored answer for the rows of its case."""
    undone = orjson.loads(stored.body)["status"] in _UNDONE
    return CaseAnswer(stored.case_id, stored.body.decode(), stored.revision, stored.final, undone)


def _refused(row: TakenRow, said: ErrorAnswer) -> Finished:
    return Finished(
        row.id,
        "refused",
        answer=write_answer(said).decode(),
        final=True,
        error_code=said.error,
        error_text_zh=refusal_zh(said),
    )


def refusal_zh(said: ErrorAnswer) -> str:
    """One sentence, then each field with its remedy; nothing that was received is repeated."""
    parts = [f"{one['field']}：{one['remedy_zh']}" for one in said.violations[:SHOWN_MAX]]
    count = len(said.violations)
    head = f"{said.message.zh}共{count}处有误，其中 " if count > SHOWN_MAX else said.message.zh
    return (head + "；".join(parts))[:ZH_MAX]
