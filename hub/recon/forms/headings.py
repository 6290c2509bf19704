"""The heads of a statement's columns, in the words of the files and as hospitals write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from hub.imports.layout import InvalidFile
from store.statements import COLUMNS

NEEDED = ("amount",)
_CHINESE = {
    "类型": "kind",
    "医疗机构编码": "institution",
    "结算单号": "settlement_no",
    "支付方": "payer",
    "请求号": "request_id",
    "支付方流水号": "reference",
    "总金额": "total",
    "支付金额": "amount",
    "个人账户": "account",
    "现金": "cash",
    "结算时间": "at",
}
_CHINESE_OF = {column: heading for heading, column in _CHINESE.items()}
_SHOWN_MAX = 40


def columns_of(headings: Sequence[str]) -> tuple[str, ...]:
    """The columns in their order; InvalidFile names every heading that is wrong."""
    complaints: list[str] = []
    found: list[str] = []
    for number, heading in enumerate(headings, 1):
        plain = unicodedata.normalize("NFKC", heading).strip().lower()
        column = _CHINESE.get(plain, plain)
        if column not in COLUMNS:
            shown = repr(heading) if len(heading) <= _SHOWN_MAX and heading.isprintable() else "a long text"
            complaints.append(f"column {number}: no column is called {shown}")
        elif column in found:
            complaints.append(f"column {number}: {column} stands there twice")
        found.append(column)
    complaints += [f"the heading must name {name}" for name in NEEDED if name not in found]
    if complaints:
        known = ", ".join(f"{name} ({_CHINESE_OF[name]})" for name in COLUMNS)
        raise InvalidFile(*complaints[:20], f"columns: {known}")
    return tuple(found)
