"""Reading policies from CSV. Complaints name line and column, never the value."""

from __future__ import annotations

import csv
import re
from datetime import date
from pathlib import Path

from schemas.codes import IdentityType
from schemas.identity import ID_CARD_TYPE, REGION_PATTERN, id_card_problem
from store.coverage import CoverageRow, person_key

COLUMNS = ("id_type", "id_no", "product", "policy_no", "region", "valid_from", "valid_until")
_TEXT = re.compile(r"[0-9A-Za-z._:-]{1,64}")
_ID_TYPES = frozenset(IdentityType)


class InvalidCoverage(Exception):
    """The file cannot be imported; `complaints` in the order of its lines."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


def read_coverage(file: Path, secret: bytes) -> list[CoverageRow]:
    """The policies in `file`, identity numbers hashed under `secret`. InvalidCoverage with every wrong line."""
    complaints: list[str] = []
    rows: list[CoverageRow] = []
    try:
        # "utf-8-sig": spreadsheets put a byte order mark before the header.
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InvalidCoverage([f"line 1: the header must name {', '.join(missing)}"])
            for row in reader:
                found = _row(row, secret)
                if isinstance(found, CoverageRow):
                    rows.append(found)
                else:
                    complaints += [f"line {reader.line_num}: {complaint}" for complaint in found]
    except UnicodeDecodeError:
        raise InvalidCoverage(["the file is not UTF-8"]) from None
    if complaints:
        raise InvalidCoverage(complaints)
    return rows


def _row(row: dict[str, str | None], secret: bytes) -> CoverageRow | list[str]:
    value = {name: (row.get(name) or "").strip() for name in COLUMNS}
    complaints = [*_identity(value), *_texts(value)]
    begins, ends = _day(value["valid_from"]), _day(value["valid_until"])
    if begins is None:
        complaints.append("valid_from: write the first day as 2026-01-31")
    if value["valid_until"] and ends is None:
        complaints.append("valid_until: write the last day as 2026-12-31, or nothing for open end")
    if begins and ends and ends < begins:
        complaints.append("valid_until: lies before valid_from")
    if complaints or begins is None:
        return complaints
    key = person_key(secret, value["id_type"], value["id_no"])
    return CoverageRow(key, value["product"], value["policy_no"], value["region"], begins, ends)


def _identity(value: dict[str, str]) -> list[str]:
    if value["id_type"] not in _ID_TYPES:
        return ["id_type: use a code of the code set, such as 01"]
    problem = id_card_problem(value["id_no"]) if value["id_type"] == ID_CARD_TYPE else None
    return [f"id_no: {problem}"] if problem else [] if value["id_no"] else ["id_no: fill in the field"]


def _texts(value: dict[str, str]) -> list[str]:
    wrong = [
        f"{name}: use up to 64 letters, digits and . _ : -"
        for name in ("product", "policy_no")
        if not _TEXT.fullmatch(value[name])
    ]
    return wrong if re.fullmatch(REGION_PATTERN, value["region"]) else [*wrong, "region: write six digits"]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
