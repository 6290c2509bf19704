"""The file of 3202 as the institution's statement of a day: settlements as wholes, a refund as a row below zero."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from hub.gateway.national.calls import Call, Services, wrong
from hub.recon.statements import scope_of, take_lines
from schemas.errors import Conflict
from schemas.national.fields import Record
from schemas.statement import LineKind, StatementLine
from store.national import File
from store.statements import Came, Key

REFUND = "1"
FORM = "national"
SIGNED_OFF = "该日对账已签结，本文件仅作核对，不再作为对账单"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the institution's file; a refund has amounts below zero."""

    setl_id: str
    mdtrt_id: str
    psn_no: str
    total_fen: int
    fund_fen: int
    account_fen: int
    refund: bool

    @property
    def mirrored(self) -> Row:
        """The settlement that a refund takes back."""
        return replace(
            self, total_fen=abs(self.total_fen), fund_fen=abs(self.fund_fen), account_fen=abs(self.account_fen)
        )


def lines_of(institution: str, rows: Sequence[Row], ours: Mapping[str, str]) -> list[StatementLine]:
    """The lines of a statement; `ours` are the settlement numbers by `setl_id`, others keep the institution's word."""
    try:
        return [_line(institution, row, ours.get(row.setl_id)) for row in rows]
    except ValidationError:
        raise wrong("file_qury_no", "national.file", "a settlement has amounts from zero, its refund below") from None


def _line(institution: str, row: Row, settlement_no: str | None) -> StatementLine:
    return StatementLine(
        kind=LineKind.REFUND if row.refund else LineKind.SETTLE,
        institution=institution,
        settlement_no=settlement_no,
        reference=None if settlement_no else row.setl_id,
        total=row.total_fen,
        amount=row.fund_fen,
        account=row.account_fen,
    )


async def keep_statement(
    call: Call, services: Services, facts: Record, file: File, lines: Sequence[StatementLine]
) -> str:
    """Put the file on record as the statement of its day; what the sender should know. Of several days it is none."""
    day = facts["stmt_begndate"]
    if facts["stmt_enddate"] != day:
        return ""
    book = services.books.active().book
    key = Key(call.party, book.schemes_of(call.party)[0].code, day)
    digest = hashlib.sha256(file.content).hexdigest()
    came = Came(FORM, file.name, digest, call.party, call.received_at)
    scope = scope_of(book, key, services.clock.now())
    declared = len(lines), sum(line.amount for line in lines)
    try:
        await services.write(lambda connection: take_lines(connection, scope, key, came, lines, declared))
    except Conflict:
        return SIGNED_OFF
    return ""
