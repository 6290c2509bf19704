"""The visits of a national-style region: registrations, fee lines, discharges, and which step may follow which.

A refusal is the region's own sentence. Visits live in memory; what is settled comes back from the book.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from sandbox.adjudication import BillLine
from schemas.money import rounded_fen

ALL = "0000"
_CATEGORIES = {"X": "09", "Z": "11", "C": "08"}


class Refused(Exception):
    """The region says no; the text goes into err_msg."""


@dataclass(frozen=True, slots=True)
class Line:
    """One uploaded fee line, whole fen."""

    number: str
    batch: str
    amount_fen: int
    count: Decimal
    price: Decimal
    level: str
    category: str
    refunds: str
    item: str


@dataclass(slots=True)
class Visit:
    """One visit; `settled` is the message that settled it, as far as the book agrees."""

    mdtrt_id: str
    institution: str
    number: str
    psn_no: str
    insutype: str
    kind: str
    begun: str
    med_type: str = ""
    ended: str = ""
    lines: dict[str, Line] = field(default_factory=dict)
    settled: str = ""


class Visits:
    """All visits of the region. `picky` refuses what is said twice, as many regions do."""

    def __init__(self, *, picky: bool = False) -> None:
        self._picky = picky
        self._by_id: dict[str, Visit] = {}

    def open(self, visit: Visit) -> Visit:
        """Register; the same number of the same hospital is the same visit."""
        known = self._by_id.get(visit.mdtrt_id)
        if known is None:
            self._by_id[visit.mdtrt_id] = visit
            return visit
        if known.psn_no != visit.psn_no:
            raise Refused("就诊号已被其他人员使用")
        if self._picky:
            raise Refused("该就诊号已登记, 不能重复登记")
        return known

    def find(self, mdtrt_id: str, psn_no: str) -> Visit:
        """A visit of this person."""
        visit = self._by_id.get(mdtrt_id)
        if visit is None or visit.psn_no != psn_no:
            raise Refused("未找到就诊登记信息")
        return visit

    def of_person(self, psn_no: str, med_type: str) -> list[Visit]:
        """What 5201 shows."""
        kind = kind_of(med_type)
        return [one for one in self._by_id.values() if one.psn_no == psn_no and one.kind == kind]

    def close(self, visit: Visit) -> None:
        """Take a registration back."""
        if visit.lines:
            raise Refused("存在费用明细, 不能撤销登记")
        del self._by_id[visit.mdtrt_id]

    def discharge(self, visit: Visit, ended: str) -> None:
        """2402."""
        if visit.ended and self._picky:
            raise Refused("该患者已办理出院")
        visit.ended = ended

    def readmit(self, visit: Visit) -> None:
        """2405."""
        if not visit.ended:
            raise Refused("该患者未办理出院")
        visit.ended = ""

    def upload(self, visit: Visit, lines: Iterable[Line]) -> None:
        """2204, 2301: all or none."""
        new = list(lines)
        if visit.ended:
            raise Refused("已办理出院, 不能上传费用")
        for line in new:
            if rounded_fen(line.count * line.price) != line.amount_fen:
                raise Refused(f"明细{line.number}金额不等于数量乘以单价")
            known = visit.lines.get(line.number)
            if known is not None and (self._picky or known != line):
                raise Refused(f"明细流水号{line.number}重复")
        visit.lines.update({line.number: line for line in new})

    def take_back(self, visit: Visit, number: str, batch: str) -> None:
        """2205 by batch, 2302 by line; 0000 means all."""
        if visit.ended:
            raise Refused("已办理出院, 不能撤销费用")
        gone = [
            one.number
            for one in visit.lines.values()
            if ALL in (number, batch) or one.number == number or one.batch == batch
        ]
        if not gone:
            raise Refused("无可撤销的费用明细")
        for each in gone:
            del visit.lines[each]

    def restore(self, visit: Visit) -> None:
        """A settled visit, as the book remembers it."""
        self._by_id.setdefault(visit.mdtrt_id, visit)


def kind_of(med_type: str) -> str:
    """The kind of a visit by med_type."""
    if med_type == "41":
        return "pharmacy"
    return "inpatient" if med_type[:1] == "2" or med_type in ("52", "61") else "outpatient"


def number_of(institution: str, number: str) -> str:
    """The region's number of a visit: the same whenever it is registered."""
    return "36" + blake2b(f"{institution}/{number}".encode(), digest_size=14).hexdigest()


def line_of(raw: Mapping[str, Any]) -> Line:
    """A line as it came; KeyError or ValueError for one that is none."""
    item = str(raw["med_list_codg"])
    return Line(
        number=str(raw["feedetl_sn"]),
        batch=str(raw.get("chrg_bchno") or ""),
        amount_fen=fen(raw["det_item_fee_sumamt"]),
        count=Decimal(str(raw["cnt"])),
        price=Decimal(str(raw["pric"])),
        level=str(raw.get("chrgitm_lv") or "01"),
        category=str(raw.get("med_chrgitm_type") or _CATEGORIES.get(item[:1], "05")),
        refunds=str(raw.get("init_feedetl_sn") or ""),
        item=item,
    )


def fen(value: Any) -> int:
    """Whole fen of a number or a text; ValueError for more than two decimals."""
    scaled = Decimal(str(value)) * 100
    if scaled != int(scaled):
        raise ValueError("more than two decimals")
    return int(scaled)


def bill_of(lines: Iterable[Line]) -> list[BillLine]:
    """What is adjudicated: refunds taken off the lines that they name, what is left of nothing left out."""
    standing: dict[str, Line] = {}
    for line in sorted(lines, key=lambda one: bool(one.refunds)):
        original = standing.get(line.refunds)
        if original is None:
            standing[line.number] = line
            continue
        left = replace(original, amount_fen=original.amount_fen + line.amount_fen, count=original.count + line.count)
        standing[original.number] = left
    return [
        BillLine(one.amount_fen, one.level, one.category, int(one.count * 10_000))
        for one in standing.values()
        if one.amount_fen
    ]
