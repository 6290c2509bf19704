"""The transactions of the national interface by `infno`: their nodes and the fields of each.

Read with `read_input` and `read_output`, written with `write_input` and `write_output`; a content is node name ->
record, or a list of records where the node repeats. A revision letter (2203A) means the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import InvalidMessage, Violation
from schemas.national import fields as f
from schemas.national import tables as t
from schemas.national.fields import Record, Shape

Content = dict[str, Any]
WRAPPERS = ("data", "result", "output", "info")
"""Names under which regions put the one node of a message instead of its own, or the other way round."""


@dataclass(frozen=True, slots=True)
class Node:
    """One member of `input` or `output`."""

    shape: Shape
    many: bool = False
    must: bool = True


@dataclass(frozen=True, slots=True)
class Exchange:
    """One transaction. `undoes` is the infno that it takes back; `person` says that `insuplc_admdvs` must be sent."""

    infno: str
    name: str
    input: Mapping[str, Node] = field(default_factory=dict)
    output: Mapping[str, Node] = field(default_factory=dict)
    undoes: str = ""
    person: bool = True


def _one(name: str, shape: Shape) -> dict[str, Node]:
    return {name: Node(shape)}


_SETTLED = {"setlinfo": Node(t.SETLINFO), "setldetail": Node(t.SETLDETAIL, many=True, must=False)}
_TRIED = {"setlinfo": Node(t.TRIAL_INFO), "setldetail": Node(t.SETLDETAIL, many=True, must=False)}
_UNDONE = {"setlinfo": Node(t.CANCEL_INFO), "setldetail": Node(t.SETLDETAIL, many=True, must=False)}
_DISEASES = Node(t.DISEASE, many=True, must=False)
_FEES = {"feedetail": Node(t.FEE, many=True)}
_FEE_RESULTS = {"result": Node(t.FEE_RESULT, many=True, must=False)}
_PHARMACY = {"druginfo": Node(t.DRUG_INFO), "drugdetail": Node(t.DRUG, many=True)}

EXCHANGES: dict[str, Exchange] = {
    one.infno: one
    for one in (
        Exchange("9001", "签到", _one("signIn", t.SIGN_IN), _one("signinoutb", t.SIGNED_IN), person=False),
        Exchange("9002", "签退", _one("signOut", t.SIGN_OUT), _one("signoutoutb", t.SIGNED_OUT), "9001", person=False),
        Exchange("9101", "文件上传", _one("fsUploadIn", t.UPLOAD), _one("data", t.UPLOADED), person=False),
        Exchange("9102", "文件下载", _one("fsDownloadIn", t.DOWNLOAD), person=False),
        Exchange(
            "1101",
            "人员信息获取",
            _one("data", t.PERSON),
            {
                "baseinfo": Node(t.PERSON_BASE),
                "insuinfo": Node(t.PERSON_INSURED, many=True, must=False),
                "idetinfo": Node(t.PERSON_IDENTITY, many=True, must=False),
            },
            person=False,
        ),
        Exchange(
            "2001",
            "人员待遇享受检查",
            _one("data", t.BENEFIT),
            {"trtinfo": Node(t.BENEFIT_CHECKED, many=True, must=False)},
        ),
        Exchange("2101", "药店预结算", _PHARMACY, _TRIED),
        Exchange("2102", "药店结算", _PHARMACY, _SETTLED),
        Exchange("2103", "药店结算撤销", _one("data", t.UNDO), _UNDONE, "2102"),
        Exchange("2201", "门诊挂号", _one("data", t.OUTPATIENT), _one("data", t.VISIT)),
        Exchange("2202", "门诊挂号撤销", _one("data", t.OUTPATIENT_UNDO), undoes="2201"),
        Exchange("2203", "门诊就诊信息上传", {"mdtrtinfo": Node(t.ENCOUNTER), "diseinfo": _DISEASES}),
        Exchange("2204", "门诊费用明细信息上传", _FEES, _FEE_RESULTS),
        Exchange("2205", "门诊费用明细信息撤销", _one("data", t.FEE_UNDO), undoes="2204"),
        Exchange("2206", "门诊预结算", _one("data", t.OUTPATIENT_SETTLE), _TRIED),
        Exchange("2207", "门诊结算", _one("data", t.OUTPATIENT_SETTLE), _SETTLED),
        Exchange("2208", "门诊结算撤销", _one("data", t.UNDO), _UNDONE, "2207"),
        Exchange("2301", "住院费用明细上传", {"feedetail": Node(t.INPATIENT_FEE, many=True)}, _FEE_RESULTS),
        Exchange("2302", "住院费用明细撤销", _one("data", t.INPATIENT_FEE_UNDO), undoes="2301"),
        Exchange("2303", "住院预结算", _one("data", t.SETTLE), _TRIED),
        Exchange("2304", "住院结算", _one("data", t.SETTLE), _SETTLED),
        Exchange("2305", "住院结算撤销", _one("data", t.UNDO), _UNDONE, "2304"),
        Exchange(
            "2401",
            "入院办理",
            {"mdtrtinfo": Node(t.ADMISSION), "agnterinfo": Node(t.AGENT, must=False), "diseinfo": _DISEASES},
            _one("result", t.ADMITTED),
        ),
        Exchange("2402", "出院办理", {"dscginfo": Node(t.DISCHARGE), "diseinfo": _DISEASES}),
        Exchange("2403", "住院信息变更", {"adminfo": Node(t.ADMISSION_CHANGE), "diseinfo": _DISEASES}),
        Exchange("2404", "入院撤销", _one("data", t.VISIT_UNDO), undoes="2401"),
        Exchange("2405", "出院撤销", _one("data", t.VISIT_UNDO), undoes="2402"),
        Exchange("2601", "冲正交易", _one("data", t.REVERSAL)),
        Exchange(
            "3201",
            "医药机构费用结算对总账",
            _one("data", t.TOTAL_CHECK),
            _one("stmtinfo", t.TOTAL_CHECKED),
            person=False,
        ),
        Exchange(
            "3202",
            "医药机构费用结算对明细账",
            _one("data", t.DETAIL_CHECK),
            _one("fileinfo", t.DETAIL_CHECKED),
            person=False,
        ),
        Exchange("3203", "清算申请", _one("data", t.CLAIM), _one("result", t.CLAIMED), person=False),
        Exchange("3204", "清算申请撤销", _one("data", t.CLAIM_UNDO), undoes="3203", person=False),
        Exchange("3301", "目录对照上传", {"catalogcompin": Node(t.MAPPING, many=True)}, person=False),
        Exchange(
            "5201",
            "就诊信息查询",
            _one("data", t.VISIT_QUERY),
            {"mdtrtinfo": Node(t.VISIT_FOUND, many=True, must=False)},
        ),
        Exchange("5203", "结算信息查询", _one("data", t.SETTLEMENT_QUERY), _SETTLED),
        Exchange(
            "5204", "费用明细查询", _one("data", t.FEE_QUERY), {"feedetail": Node(t.FEE_FOUND, many=True, must=False)}
        ),
    )
}


def exchange_of(infno: str) -> Exchange | None:
    """The transaction of a number, with or without its revision letter; None for one that nobody knows."""
    known = EXCHANGES.get(infno)
    if known is None and len(infno) == 5 and infno[-1].isalpha():
        known = EXCHANGES.get(infno[:-1])
    return known


def read_input(infno: str, raw: Any, *, strict: bool = False) -> Content:
    """The content of a request; InvalidMessage with a Violation per field that cannot be read."""
    return _read(_known(infno).input, raw, "input", strict=strict)


def read_output(infno: str, raw: Any) -> Content:
    """The content of an answer; InvalidMessage with a Violation per field that cannot be read."""
    return _read(_known(infno).output, raw, "output", strict=False)


def write_input(infno: str, content: Mapping[str, Any]) -> Record:
    """The `input` to send; InvalidMessage names each field that is missing, unknown or too long."""
    return _write(_known(infno).input, content, "input")


def write_output(infno: str, content: Mapping[str, Any]) -> Record:
    """The `output` to send; InvalidMessage names each field that is missing, unknown or too long."""
    return _write(_known(infno).output, content, "output")


def unknown_money(infno: str, output: Any, node: str = "setlinfo", known: Sequence[str] = ()) -> list[str]:
    """Money in one node of an answer that the table does not know and that is not zero."""
    exchange = _known(infno)
    found = _nodes(exchange.output, output)
    return [name for raw in found[node] for name in f.unknown_money(exchange.output[node].shape, raw, known)]


def _known(infno: str) -> Exchange:
    exchange = exchange_of(infno)
    if exchange is None:
        raise InvalidMessage("no such transaction", Violation("infno", "national.infno", "use a known number"))
    return exchange


def _read(nodes: Mapping[str, Node], raw: Any, root: str, *, strict: bool) -> Content:
    broken: list[Violation] = []
    content: Content = {}
    for name, found in _nodes(nodes, raw).items():
        node = nodes[name]
        path = (root, name)
        if node.many:
            content[name] = [
                f.read_record(node.shape, one, (*path, index), broken, strict=strict) for index, one in enumerate(found)
            ]
            if node.must and not found:
                broken.append(Violation(f"{root}.{name}", "national.missing", "send at least one row"))
        elif len(found) == 1:
            content[name] = f.read_record(node.shape, found[0], path, broken, strict=strict)
        elif found:
            broken.append(Violation(f"{root}.{name}", "national.node", "send one object"))
        elif node.must:
            broken.append(Violation(f"{root}.{name}", "national.missing", "send the node"))
    if broken:
        raise InvalidMessage("the message breaks the field table", *broken, code="national.fields")
    return content


def _nodes(nodes: Mapping[str, Node], raw: Any) -> dict[str, list[Mapping[str, Any]]]:
    """The objects of each node, whatever shape the region gave it: object or array, own name, `data`, or none."""
    if isinstance(raw, list):
        raw = {next(iter(nodes), ""): raw}
    if not isinstance(raw, Mapping):
        raw = {}
    found = {name: _objects(raw.get(name)) for name in nodes}
    first = next(iter(nodes), "")
    if first and not found[first]:
        wrapped = [raw[name] for name in WRAPPERS if name in raw and name not in nodes]
        inner = wrapped[0] if len(wrapped) == 1 else None
        if isinstance(inner, Mapping) and any(name in inner for name in nodes):
            return _nodes(nodes, inner)
        found[first] = _objects(inner) if inner is not None else _flat(nodes[first], raw)
    return found


def _objects(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, Mapping) and one]


def _flat(node: Node, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The fields of the node straight in the message, told by its mandatory ones."""
    must = [name for name, one in node.shape.fields.items() if one.must]
    return [raw] if any(name in raw for name in must) else []


def _write(nodes: Mapping[str, Node], content: Mapping[str, Any], root: str) -> Record:
    broken = [Violation(f"{root}.{name}", "national.unknown", "no such node") for name in content if name not in nodes]
    written: Record = {}
    for name, node in nodes.items():
        value = content.get(name)
        if value is None or value == []:
            if node.must:
                broken.append(Violation(f"{root}.{name}", "national.missing", "fill in the node"))
        elif node.many:
            written[name] = [
                f.write_record(node.shape, one, (root, name, index), broken) for index, one in enumerate(value)
            ]
        else:
            written[name] = f.write_record(node.shape, value, (root, name), broken)
    if broken:
        raise InvalidMessage("the message does not fit the field table", *broken, code="national.fields")
    return written
