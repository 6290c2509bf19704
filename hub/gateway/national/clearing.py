"""3201, 3202 with the files of 9101 and 9102, and 3301: totals, details and mappings.

The file of 3202 is also the institution's statement of its day; see `hub.gateway.national.statements`.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from hub.gateway.national.calls import Call, Reply, Services, wrong
from hub.gateway.national.numbers import short_number, uuid_of
from hub.gateway.national.setlinfo import CLEARING_TYPES
from hub.gateway.national.settlements import read_settled
from hub.gateway.national.statements import REFUND, Row, keep_statement, lines_of
from routing.states import CaseState
from schemas.clearing import CHECKED_MAX, CaseCheckAnswer, CaseDifference, Difference, FeesSettleAnswer
from schemas.errors import InvalidMessage, Violation
from schemas.master import UploadAnswer
from schemas.money import signed_fen_of, yuan_of
from schemas.transactions import Transaction
from store import cases, national
from store.national import File

FILE_TTL = timedelta(days=3)
UNPACKED_MAX_BYTES = 4 * 1024 * 1024
NOTHING = "null"
_COLUMNS = 8
_KINDS = {code: kind for kind, code in CLEARING_TYPES.items()}
_ANY_KIND = "99"
_UNBALANCED = "1"
_NUMBER_BYTES = 15


async def totals(call: Call, services: Services) -> Reply:
    """3201: the institution's totals beside the hub's; whether they agree is the result, not an error."""
    facts = call.content["data"]
    message = {
        "institution": call.party,
        "request_no": call.msgid,
        "period": _period(facts),
        "region": facts["setl_optins"],
        "insurance_type": facts["insutype"],
        "count": facts["fixmedins_setl_cnt"],
        "total": yuan_of(_positive(facts, "medfee_sumamt")),
        "payers_paid": yuan_of(_positive(facts, "fund_pay_sumamt")),
        "account": yuan_of(_positive(facts, "acct_pay")),
        "cash": yuan_of(_cash(facts)),
    }
    kind = _kind(facts)
    brought = await services.bring(call, Transaction.FEES_SETTLE, message | ({"visit_kind": kind} if kind else {}))
    answer = FeesSettleAnswer.model_validate_json(brought.answer or b"")
    # The interface does not name the cash: what it names decides.
    theirs = (facts["fixmedins_setl_cnt"], facts["medfee_sumamt"], facts["fund_pay_sumamt"], facts["acct_pay"])
    balanced = theirs == (answer.count, answer.total, answer.payers_paid, answer.account)
    result = call.institution.national.balanced if balanced else _UNBALANCED
    told = "对账一致"
    if not balanced:
        told = (
            f"对账不一致；平台：{answer.count}笔，总额{yuan_of(answer.total)}元，基金{yuan_of(answer.payers_paid)}元，"
            f"账户{yuan_of(answer.account)}元"
        )
    return Reply({"stmtinfo": {"setl_optins": facts["setl_optins"], "stmt_rslt": result, "stmt_rslt_dscr": told[:200]}})


def _period(facts: Mapping[str, Any]) -> dict[str, str]:
    first, last = facts["stmt_begndate"], facts["stmt_enddate"]
    if last < first:
        raise wrong("stmt_enddate", "national.period", "send the days in order")
    return {"first": first.isoformat(), "last": last.isoformat()}


def _kind(facts: Mapping[str, Any]) -> str:
    """The kind of visit of a clearing type; empty for all of them."""
    code = facts["clr_type"]
    if code != _ANY_KIND and code not in _KINDS:
        raise wrong("clr_type", "national.code", "use 11, 21, 41 or 99")
    return _KINDS[code].value if code in _KINDS else ""


def _positive(facts: Mapping[str, Any], name: str) -> int:
    if facts[name] < 0:
        raise wrong(name, "national.money", "send an amount that is not negative")
    return int(facts[name])


def _cash(facts: Mapping[str, Any]) -> int:
    """The interface does not say it: what neither funds nor the account bear."""
    cash: int = facts["medfee_sumamt"] - facts["fund_pay_sumamt"] - facts["acct_pay"]
    if cash < 0:
        raise wrong("medfee_sumamt", "national.money", "the parts are more than the whole")
    return cash


async def upload_file(call: Call, services: Services) -> Reply:
    """9101: Base64 of the file's bytes in `in`."""
    facts = call.content["fsUploadIn"]
    _own(call, facts)
    try:
        content = base64.b64decode(facts["in"], validate=True)
    except (binascii.Error, ValueError):
        raise wrong("in", "national.file", "send the bytes as Base64") from None
    kept = await _keep(call, services, facts["filename"], content)
    named = {"file_qury_no": kept.file_no, "filename": kept.name, "fixmedins_code": call.party}
    return Reply({"data": named})


async def download_file(call: Call, services: Services) -> Reply:
    """9102: the bytes, without an envelope."""
    facts = call.content["fsDownloadIn"]
    _own(call, facts)
    found = await _file(call, services, facts["file_qury_no"])
    return Reply(file=found.content)


def _own(call: Call, facts: Mapping[str, Any]) -> None:
    if facts["fixmedins_code"] != call.party:
        raise wrong("fixmedins_code", "national.institution", "send your own number")


async def _keep(call: Call, services: Services, name: str, content: bytes) -> File:
    number = secrets.token_hex(_NUMBER_BYTES)
    new = File(number, call.party, name, content, call.received_at, call.received_at + FILE_TTL)
    await services.write(lambda connection: national.add_file(connection, new))
    return new


async def _file(call: Call, services: Services, number: str) -> File:
    found = await services.read(lambda connection: national.file(connection, call.party, number, call.received_at))
    if found is None:
        raise wrong("file_qury_no", "national.file", "upload the file with 9101 first")
    return found


async def details(call: Call, services: Services) -> Reply:
    """3202: each settlement of the uploaded file beside the hub's; the differences come as a file for 9102."""
    facts = call.content["data"]
    file = await _file(call, services, facts["file_qury_no"])
    rows = rows_of(file.content)
    if (
        sum(row.total_fen for row in rows) != facts["medfee_sumamt"]
        or sum(row.fund_fen for row in rows) != facts["fund_pay_sumamt"]
    ):
        raise wrong("medfee_sumamt", "national.file_totals", "send the sums of the file")
    if facts["fixmedins_setl_cnt"] not in _counts(rows):
        raise wrong("fixmedins_setl_cnt", "national.file_totals", "send the number of the file's rows")
    known = await services.read(lambda connection: _known(connection, call.party, rows))
    numbers = {number: one.settlement_no for number, one in known.items()}
    checked = _checked(rows, known)
    lines = lines_of(call.party, rows, {number: one.settlement_no for number, one in known.items() if one.is_ours})
    message = {
        "institution": call.party,
        "request_no": call.msgid,
        "period": _period(facts),
        "cases": list(checked.values()),
    }
    brought = await services.bring(call, Transaction.CASE_CHECK, message)
    answer = CaseCheckAnswer.model_validate_json(brought.answer or b"")
    if answer.more:
        # What the file does not name would be taken for agreed.
        raise wrong("stmt_enddate", "national.period", "send fewer days: more differs than an answer can name")
    named = {numbers[row.setl_id]: (row.psn_no, row.mdtrt_id, row.setl_id) for row in reversed(rows)}
    ours = [one.settlement_no for one in answer.differences if one.settlement_no not in named]
    named |= await services.read(lambda connection: _named(connection, call.party, ours))
    theirs = {numbers[row.setl_id]: row for row in reversed(rows)}
    content = _zipped("".join(_difference(one, named, theirs) for one in answer.differences))
    warning = await keep_statement(call, services, facts, file, lines)
    kept = await _keep(call, services, f"3202_{call.msgid}.zip", content)
    told = {"file_qury_no": kept.file_no, "filename": kept.name, "dld_endtime": kept.valid_until}
    return Reply({"fileinfo": told}, warning)


def _counts(rows: list[Row]) -> set[int]:
    """What the number of a file's settlements may mean: rows, settlements, or those that stand."""
    refunds = sum(row.refund for row in rows)
    return {len(rows), len({row.setl_id for row in rows}), len(rows) - 2 * refunds}


@dataclass(frozen=True, slots=True)
class _Known:
    """What the hub calls a settlement of the file, and what the hospital bears of it, which the file does not say."""

    settlement_no: str
    hospital_fen: int = 0
    is_ours: bool = False
    cancelled: bool = False


def _known(connection: Connection, institution: str, rows: list[Row]) -> dict[str, _Known]:
    """By setl_id; one that is not ours keeps its own number, which is then found nowhere."""
    ids = {row.setl_id: uuid_of(row.setl_id) for row in rows}
    found = cases.read(connection, [id_ for id_ in ids.values() if id_])
    own = {
        id_: _Known(
            case.settlement_no,
            sum(leg.hospital_fen for leg in case.legs),
            is_ours=True,
            cancelled=case.state is CaseState.CANCELLED,
        )
        for id_, case in found.items()
        if case.institution == institution
    }
    return {number: own.get(id_ or "", _Known(number)) for number, id_ in ids.items()}


def _checked(rows: list[Row], known: Mapping[str, _Known]) -> dict[str, dict[str, Any]]:
    """One entry per settlement: a row and its refund are a settlement that was cancelled."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.setl_id].append(row)
    checked = {}
    for setl_id, group in groups.items():
        settled = next((row for row in group if not row.refund), None)
        if settled is None and known[setl_id].cancelled:
            continue  # the refund of another day's settlement: it is undone here as there
        first = settled or group[0].mirrored
        if first.total_fen < first.fund_fen + first.account_fen:
            raise wrong("file_qury_no", "national.file", "the parts of a row are more than its whole")
        cancelled = any(row.refund for row in group)
        cash_fen = first.total_fen - first.fund_fen - first.account_fen - known[setl_id].hospital_fen
        number = known[setl_id].settlement_no
        checked[number] = {
            "settlement_no": number,
            "total": yuan_of(first.total_fen),
            "payers_paid": yuan_of(0 if cancelled else first.fund_fen),
            "cash": yuan_of(max(0, cash_fen)),
            "cancelled": cancelled,
        }
    return checked


def rows_of(packed: bytes) -> list[Row]:
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            (entry,) = archive.infolist()
            with archive.open(entry) as content:
                text = content.read(UNPACKED_MAX_BYTES + 1)
        if len(text) > UNPACKED_MAX_BYTES:
            raise ValueError("too large")
        lines = text.decode("utf-8").splitlines()
        if len(lines) > 2 * CHECKED_MAX:
            raise ValueError("too many rows")
        return [_row(line) for line in lines if line]
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError):
        raise wrong("file_qury_no", "national.file", "send a zip with one text of tab-separated rows") from None


def _row(line: str) -> Row:
    cells = ["" if cell == NOTHING else cell for cell in line.split("\t")]
    if len(cells) < _COLUMNS - 1:
        raise ValueError("too few columns")
    setl_id, mdtrt_id, psn_no, total, fund, account, refund = cells[:7]
    if not setl_id:
        raise ValueError("no setl_id")
    total_fen, fund_fen, account_fen = (signed_fen_of(text or "0") for text in (total, fund, account))
    amounts = (total_fen, fund_fen, account_fen)
    # Some mark both rows of a refunded settlement: the sign says which of them takes it back.
    takes_back = min(amounts) < 0 or (not any(amounts) and refund == REFUND)
    return Row(setl_id, mdtrt_id, psn_no, *amounts, takes_back)


def _named(connection: Connection, institution: str, settlement_nos: list[str]) -> dict[str, tuple[str, str, str]]:
    """(psn_no, mdtrt_id, setl_id) of settlements that only the hub has."""
    known = cases.find_by_key(connection, [(institution, number) for number in settlement_nos])
    found = {}
    for (_, number), (case_id, _) in known.items():
        settled = read_settled(connection, case_id, None)
        if settled is not None:
            found[number] = (settled.request.insurance.person_no, settled.visit_number, short_number(case_id))
    return found


def _difference(one: CaseDifference, named: Mapping[str, tuple[str, str, str]], theirs: Mapping[str, Row]) -> str:
    """psn_no, mdtrt_id, setl_id, msgid, stmt_rslt, refd_setl_flag, memo, medfee, fund, account; without a msgid where
    only the institution has it. The amounts are the institution's, the fund's the hub's where it has one."""
    row = theirs.get(one.settlement_no)
    fund_fen = one.ours if one.ours is not None else row.fund_fen if row else 0
    cells = [
        *named.get(one.settlement_no, ("", "", "")),
        "" if one.kind is Difference.UNKNOWN_HERE else one.settlement_no,
        _UNBALANCED,
        REFUND if row and row.refund else "0",
        one.meaning.zh.replace("\t", " "),
        yuan_of(row.total_fen) if row else "",
        yuan_of(fund_fen),
        yuan_of(row.account_fen) if row else "",
    ]
    return "\t".join(cell or NOTHING for cell in cells) + "\n"


def _zipped(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.txt", text)
    return packed.getvalue()


async def mappings(call: Call, services: Services) -> Reply:
    """3301: hospital items and the national items that they are."""
    rows = call.content["catalogcompin"]
    message = {"sender": call.party, "request_no": call.msgid, "rows": [_mapping(row) for row in rows]}
    brought = await services.bring(call, Transaction.MAPPING_UPLOAD, message)
    answer = UploadAnswer.model_validate_json(brought.answer or b"")
    if not answer.taken:
        raise InvalidMessage(
            "",
            *(Violation(f"catalogcompin[{one.row - 1}].{one.field}", one.code, one.remedy) for one in answer.problems),
            code="national.fields",
        )
    return Reply()


def _mapping(row: Mapping[str, Any]) -> dict[str, Any]:
    mapping = {
        "list_type": row["list_type"],
        "local_code": row["fixmedins_hilist_id"],
        "local_name": row["fixmedins_hilist_name"],
        "item_code": row["med_list_codg"],
        "valid_from": row["begndate"].isoformat(),
    }
    return mapping | ({"valid_until": row["enddate"].isoformat()} if "enddate" in row else {})
