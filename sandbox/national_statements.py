"""3201, 9101, 3202 and 9102 of a national-style region: an institution's books held against its own.

The region lists nothing: it says whether totals agree, and writes the rows that differ into a file. A row that only the
institution has comes without a msgid.
"""

from __future__ import annotations

import base64
import io
import secrets
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import orjson

from sandbox.book import Book
from sandbox.entries import Entry
from sandbox.national_answers import Output
from sandbox.national_visits import Refused, fen
from sandbox.web import Reply
from schemas.money import signed_fen_of, yuan_of
from schemas.statement import LineKind, StatementLine

ANY_KIND = "99"
NOTHING = "null"
_KINDS = {"outpatient": "11", "inpatient": "21", "pharmacy": "41"}
_FILES_MAX = 1000
Key = tuple[str, bool]
Amounts = tuple[int, int, int]


class Asked(Protocol):
    """A request envelope that was accepted."""

    @property
    def institution(self) -> str: ...

    def node(self, name: str = "data") -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Row:
    """One of the region's rows."""

    key: Key
    amounts: Amounts
    mdtrt_id: str
    psn_no: str
    msgid: str
    insutype: str
    kind: str


class NationalStatements:
    """One region's comparing; files are forgotten with the process."""

    def __init__(
        self, book: Book, statement: Callable[[date], list[StatementLine]], *, fund_includes_account: bool
    ) -> None:
        self._book = book
        self._statement = statement
        self._with_account = fund_includes_account
        self._files: dict[str, tuple[str, str, bytes]] = {}
        self.handlers: dict[str, Callable[[Any], Any]] = {
            "3201": self._totals,
            "9101": self._upload,
            "3202": self._details,
            "9102": self._download,
        }

    def _totals(self, asked: Asked) -> Output:
        told = asked.node()
        rows = [row for row in self._rows(asked, told) if row.insutype == str(told["insutype"])]
        ours = [sum(row.amounts[place] for row in rows) for place in range(3)]
        theirs = [fen(told[name]) for name in ("medfee_sumamt", "fund_pay_sumamt", "acct_pay")]
        same = ours == theirs and len(rows) == int(told["fixmedins_setl_cnt"])
        result = {"stmt_rslt": "0" if same else "1", "stmt_rslt_dscr": "对账一致" if same else "对账不一致"}
        return {"stmtinfo": {"setl_optins": told["setl_optins"], **result}}

    def _upload(self, asked: Asked) -> Output:
        told = asked.node("fsUploadIn")
        number = self._kept(asked.institution, str(told["filename"]), base64.b64decode(told["in"], validate=True))
        return {"data": {**number, "fixmedins_code": asked.institution}}

    def _details(self, asked: Asked) -> Output:
        told = asked.node()
        theirs = _read(self._file(asked.institution, str(told["file_qury_no"])))
        if sum(row[1][1] for row in theirs) != fen(told["fund_pay_sumamt"]):
            raise Refused("文件明细合计与总额不一致")
        content = "".join(_differing(self._rows(asked, told), theirs))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("result.txt", content)
        kept = self._kept(asked.institution, f"result_{told['stmt_begndate']}.zip", packed.getvalue())
        return {"fileinfo": {**kept, "dld_endtime": f"{told['stmt_enddate']} 23:59:59"}}

    def _download(self, asked: Asked) -> Reply:
        content = self._file(asked.institution, str(asked.node("fsDownloadIn")["file_qury_no"]))
        return Reply(content, content_type="application/octet-stream")

    def _kept(self, institution: str, name: str, content: bytes) -> dict[str, str]:
        if len(self._files) >= _FILES_MAX:
            self._files.clear()
        number = secrets.token_hex(12)
        self._files[number] = institution, name, content
        return {"file_qury_no": number, "filename": name}

    def _file(self, institution: str, number: str) -> bytes:
        owner, _, content = self._files.get(number, ("", "", b""))
        if owner != institution:
            raise Refused("文件查询号不存在")
        return content

    def _rows(self, asked: Asked, told: Mapping[str, Any]) -> list[_Row]:
        """The institution's rows of a day and a kind of visit."""
        lines = self._statement(date.fromisoformat(str(told["stmt_begndate"])[:10]))
        known = {entry.reference: entry for entry in self._book.entries() if entry.reference}
        kind = str(told["clr_type"])
        rows = [
            self._row(line, known.get(line.reference or "")) for line in lines if line.institution == asked.institution
        ]
        return [row for row in rows if kind in (ANY_KIND, row.kind) or not row.kind]

    def _row(self, line: StatementLine, entry: Entry | None) -> _Row:
        detail: dict[str, Any] = orjson.loads(entry.detail) if entry is not None and entry.detail else {}
        fund = line.amount + (line.account if self._with_account else 0)
        return _Row(
            (line.reference or line.settlement_no or "", line.kind is LineKind.REFUND),
            (line.total, fund, line.account),
            str(detail.get("mdtrt_id", "")),
            str(detail.get("psn_no", "")),
            entry.request_id if entry is not None else "UNKNOWN",
            str(detail.get("insutype", "")),
            _KINDS.get(str(detail.get("visit", {}).get("kind", "")), ""),
        )


def _read(packed: bytes) -> list[tuple[Key, Amounts]]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    rows = []
    for line in text.splitlines():
        cells = line.split("\t")
        total, fund, account = (signed_fen_of(cell) for cell in cells[3:6])
        rows.append(((cells[0], cells[6] == "1"), (total, fund, account)))
    return rows


def _differing(ours: Iterable[_Row], theirs: Iterable[tuple[Key, Amounts]]) -> Iterable[str]:
    mine: dict[Key, list[_Row]] = defaultdict(list)
    sent: dict[Key, list[Amounts]] = defaultdict(list)
    for row in ours:
        mine[row.key].append(row)
    for key, amounts in theirs:
        sent[key].append(amounts)
    for key, rows in mine.items():
        if [row.amounts for row in rows] != sent.get(key):
            for row in rows:
                yield _line(row.psn_no, row.mdtrt_id, key, row.msgid, "金额或状态不一致", row.amounts)
    for key, found in sent.items():
        if key not in mine:
            for amounts in found:
                yield _line("", "", key, "", "医保无此结算", amounts)


def _line(psn_no: str, mdtrt_id: str, key: Key, msgid: str, memo: str, amounts: Amounts) -> str:
    cells = (psn_no, mdtrt_id, key[0], msgid, "1", "1" if key[1] else "0", memo, *map(yuan_of, amounts))
    return "\t".join(cell or NOTHING for cell in cells) + "\n"
