"""A region's books of a day: 3201 holds the totals, 3202 each settlement against ours, 9102 brings what differs.

The interface lists no settlements: the region is told ours, institution by institution, and answers with the rows that
differ. Ours, with those rows put right, are the region's.
"""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.basic.national.region import Region
from adapters.basic.national.scripts import Head, Planned, Scripts, infno_of
from adapters.basic.national.talk import Talk
from adapters.conversation import Said, Step, calls_of
from adapters.statement_pages import page_of, read_line, refused
from schemas.codes import VisitKind
from schemas.errors import InvalidMessage, Malformed, Unavailable, Violation
from schemas.money import signed_fen_of, yuan_of
from schemas.payer import RawAnswer
from schemas.statement import LineKind, StatementLine
from schemas.statement_pages import OwnLine, StatementPage, StatementQuestion

FILE, NAME = "{file_qury_no}", "{filename}"
ALL_KINDS = "99"
KINDS = {VisitKind.OUTPATIENT: "11", VisitKind.INPATIENT: "21", VisitKind.PHARMACY: "41"}
ROWS_MAX = 100_000
UNPACKED_MAX_BYTES = 32 * 1024 * 1024
NOTHING = "null"
REFUND = "1"
_COLUMNS = 10
_ZIP_MOMENT = (1980, 1, 1, 0, 0, 0)


class Statements:
    """Questions about one institution's day, and what the answers mean."""

    def __init__(self, region: Region, scripts: Scripts, talk: Talk) -> None:
        self._region, self._scripts, self._talk = region, scripts, talk

    def steps(self, question: StatementQuestion) -> list[Step]:
        """The script; InvalidMessage for what the field tables cannot carry."""
        region = self._region.region or question.region
        head = Head(self._region, question.institution, region, region, question.numbers)
        plan = [*self._totals(question, region)]
        for kind in self._region.words["statement_kinds"]:
            own = [one for one in question.own if kind in (ALL_KINDS, KINDS[one.visit_kind])]
            plan += self._details(question, region, kind, own)
        return self._scripts.written(head, plan, "9102")

    def _totals(self, question: StatementQuestion, region: str) -> Iterator[Planned]:
        groups: dict[tuple[str, str], list[OwnLine]] = defaultdict(list)
        for one in question.own:
            groups[one.insurance_type.value, KINDS[one.visit_kind]].append(one)
        for (insutype, kind), own in sorted(groups.items()):
            sums = self._sums(question, region, kind, own)
            del sums["cash_payamt"]
            account = sum(one.line.account for one in own)
            yield "3201", {"data": {"insutype": insutype, "acct_pay": account, **sums}}

    def _details(self, question: StatementQuestion, region: str, kind: str, own: Sequence[OwnLine]) -> list[Planned]:
        name = f"{question.institution}_{question.day:%Y%m%d}_{kind}.zip"
        packed = base64.b64encode(_zipped(map(self._row, own))).decode()
        sums = self._sums(question, region, kind, own)
        return [
            ("9101", {"fsUploadIn": {"in": packed, "filename": name, "fixmedins_code": question.institution}}),
            ("3202", {"data": {"file_qury_no": FILE, **sums}}),
            ("9102", {"fsDownloadIn": _download(question.institution)}),
        ]

    def _sums(self, question: StatementQuestion, region: str, kind: str, own: Sequence[OwnLine]) -> dict[str, Any]:
        total, fund = sum(one.line.total for one in own), sum(map(self._fund, own))
        account = sum(one.line.account for one in own)
        beside_fund = 0 if self._region.yes("fund_includes_account") else account
        return {
            "setl_optins": region,
            "clr_type": kind,
            "stmt_begndate": question.day,
            "stmt_enddate": question.day,
            "medfee_sumamt": total,
            "fund_pay_sumamt": fund,
            "cash_payamt": total - fund - beside_fund,
            "fixmedins_setl_cnt": len(own),
            "refd_setl_flag": REFUND,
        }

    def _fund(self, one: OwnLine) -> int:
        return one.line.amount + (one.line.account if self._region.yes("fund_includes_account") else 0)

    def _row(self, one: OwnLine) -> str:
        line = one.line
        amounts = (yuan_of(fen) for fen in (line.total, self._fund(one), line.account))
        flag = REFUND if line.kind is LineKind.REFUND else "0"
        cells = (line.reference, one.visit_reference, one.person_no, *amounts, flag, NOTHING)
        return "\t".join(cell or NOTHING for cell in cells) + "\n"

    def page(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """The region's books: one page, whatever there is. See `hub.ports.StatementAdapter`."""
        balanced, differing = True, list[_Row]()
        for one in calls_of(answer):
            infno = infno_of(one.name)
            if one.status != 200:
                raise Unavailable("the region gives no statement now", party=question.payer, code=f"http.{one.status}")
            if infno == "9102" and one.answer.startswith(b"PK"):
                differing += _rows_of(one.answer)
                continue
            content = self._content(question, one, infno)
            if infno == "3201":
                balanced &= content["stmtinfo"]["stmt_rslt"] in self._region.words["balanced"]
            elif infno == "9102":
                raise Malformed("9102 brings no file", code="national.file", party=question.payer)
        lines = list(self._put_right(question, differing))
        if not balanced and not differing:
            said = Violation("stmt_rslt", "national.statement", "name the rows in the file of 3202 that differ")
            raise InvalidMessage("3201 says that totals differ, and 3202 names no row", said, party=question.payer)
        return page_of(question, pages=1, count=len(lines), total=sum(line.amount for line in lines), lines=lines)

    def _content(self, question: StatementQuestion, one: Said, infno: str) -> dict[str, Any]:
        response = self._talk.opened(one.answer, question.institution)
        if response.refused:
            raise refused(question, f"national.{infno}", response.err_msg)
        if not response.done:
            raise Unavailable("a gateway's word", party=question.payer, code="national.gateway")
        return {} if infno in ("9001", "9102") else self._talk.content(one.answer, question.institution, infno)

    def _put_right(self, question: StatementQuestion, differing: Sequence[_Row]) -> Iterator[StatementLine]:
        """Ours where nothing was said, the region's where it named its own, nothing where it has none."""
        told: dict[tuple[str, bool], list[_Row]] = defaultdict(list)
        for row in differing:
            told[row.key].append(row)
        for one in question.own:
            line = one.line
            rows = told.pop((line.reference or "", line.kind is LineKind.REFUND), None)
            if rows is None:
                yield line
                continue
            yield from (self._line(row, line) for row in rows if row.msgid)
        for rows in told.values():
            for row in rows:
                if row.msgid:
                    yield self._line(row, _nobodys(question, row))

    def _line(self, row: _Row, like: StatementLine) -> StatementLine:
        """The region's row; what it does not say is as we have it."""
        account = row.account_fen
        amount = row.fund_fen - (account if self._region.yes("fund_includes_account") else 0)
        return read_line(like.model_dump() | {"total": row.total_fen, "amount": amount, "account": account}, 1)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that differs; without a `msgid` the region has no such settlement."""

    setl_id: str
    msgid: str
    refund: bool
    total_fen: int
    fund_fen: int
    account_fen: int

    @property
    def key(self) -> tuple[str, bool]:
        return self.setl_id, self.refund


def _download(institution: str) -> dict[str, str]:
    return {"file_qury_no": FILE, "filename": NAME, "fixmedins_code": institution}


def _nobodys(question: StatementQuestion, row: _Row) -> StatementLine:
    """What the region has and we do not."""
    kind = LineKind.REFUND if row.refund else LineKind.SETTLE
    return StatementLine(kind=kind, institution=question.institution, reference=row.setl_id, amount=0)


def _zipped(rows: Iterable[str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("statement.txt", _ZIP_MOMENT)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "".join(rows))
    return packed.getvalue()


def _rows_of(packed: bytes) -> list[_Row]:
    """The rows of the region's file; InvalidMessage for none, or one that breaks its form."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            (entry,) = archive.infolist()
            with archive.open(entry) as content:
                unpacked = content.read(UNPACKED_MAX_BYTES + 1)
        lines = unpacked.decode("utf-8-sig").splitlines()
        if len(unpacked) > UNPACKED_MAX_BYTES or len(lines) > ROWS_MAX:
            raise ValueError("too large")
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError):
        raise _wrong("file", "send a zip with one text of tab-separated rows") from None
    return [_row_of(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row_of(number: int, line: str) -> _Row:
    """psn_no, mdtrt_id, setl_id, msgid, stmt_rslt, refd_setl_flag, memo, medfee, fund, account."""
    cells = ["" if cell == NOTHING else cell.strip() for cell in line.split("\t")]
    if len(cells) < _COLUMNS or not cells[2]:
        raise _wrong(f"row {number}", "fill in ten columns, the third of them setl_id")
    try:
        total, fund, account = (signed_fen_of(cell or "0") for cell in cells[7:10])
    except ValueError:
        raise _wrong(f"row {number}", "write yuan with at most two decimals") from None
    return _Row(cells[2], cells[3], cells[5] == REFUND or total < 0, total, fund, account)


def _wrong(where: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("the region's file breaks its form", Violation(where, "national.file", remedy))
