"""What breaks the schema, as fields and remedies in the words of the canonical JSON; no received value is repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from lxml import etree

from schemas.errors import Violation
from schemas.soap_types import RecordType, TextType

VIOLATIONS_MAX = 20
_STEP = re.compile(r"(?:\*|(?:[^:/\[\]]+:)?[^:/\[\]]+)(?:\[([0-9]{1,9})\])?")
_EXPECTED = re.compile(r"\{[^}]*\}([A-Za-z_]+)")
_MONEY = ("Money", "SignedMoney")
_BY_BASE = {
    "boolean": ("bool_type", "send true or false"),
    "int": ("int_parsing", "send a whole number"),
    "date": ("date_parsing", "send a day such as 2026-03-02"),
    "dateTime": ("datetime_parsing", "send a moment with its time zone, such as 2026-03-02T09:15:00+08:00"),
    "decimal": ("decimal", "send a plain number with no more decimals than the schema allows"),
}
_BY_RULE = {
    "CVC_PATTERN_VALID": ("string_pattern_mismatch", "use only the characters and length that the schema allows"),
    "CVC_MAXLENGTH_VALID": ("string_too_long", "shorten the text"),
    "CVC_MINLENGTH_VALID": ("string_too_short", "fill in the field"),
}
_GENERAL = ("xml.schema", "send what the schema of the service allows here")


def violations_in(schema: etree.XMLSchema, payload: etree._Element, record: RecordType) -> list[Violation]:
    """One Violation for each place that the last validation of `payload` complained of, in its order."""
    found: dict[str, Violation] = {}
    log: Any = schema.error_log
    for entry in islice(log, VIOLATIONS_MAX):
        field, kind = _place(payload, entry.path or "", record)
        rule = entry.type_name.removeprefix("SCHEMAV_")
        if rule == "ELEMENT_CONTENT":
            violation = _about_order(field, entry.message, kind)
        else:
            code, remedy = _about_value(rule, kind)
            violation = Violation(field or "message", code, remedy)
        found.setdefault(violation.field, violation)
    return list(found.values())


def _about_order(field: str, complaint: str, kind: RecordType | TextType | None) -> Violation:
    """An element is missing, unknown, or not in its place. Only names of our own schema are passed on."""
    known = {element.name for element in kind.elements} if isinstance(kind, RecordType) else set()
    _, expected, names = complaint.partition("Expected is")
    wanted = [name for name in _EXPECTED.findall(names) if name in known]
    if not expected or not wanted:
        return Violation(field or "message", "xml.unexpected", "remove the element: it is not part of this message")
    if len(wanted) == 1:
        where = f"{field}.{wanted[0]}" if field else wanted[0]
        return Violation(where, "xml.missing", "add the element, in the order of the schema")
    listed = ", ".join(wanted[:10])
    return Violation(field or "message", "xml.order", f"here comes one of: {listed}; keep the order of the schema")


def _about_value(rule: str, kind: RecordType | TextType | None) -> tuple[str, str]:
    if not isinstance(kind, TextType):
        return _GENERAL
    if kind.name in _MONEY:
        return "money", "write yuan with at most two decimals, such as 1234.50"
    if any(facet == "enumeration" for facet, _ in kind.facets):
        return "enum", "use a code of the code set"
    return _BY_BASE.get(kind.base) or _BY_RULE.get(rule, _GENERAL)


def _place(payload: etree._Element, path: str, record: RecordType) -> tuple[str, RecordType | TextType | None]:
    """The field that a path of the validator means, and its type; an element that we do not know is its parent."""
    field, node, kind = "", payload, record
    for step in path.split("/")[2:]:
        child = _child(node, step)
        name = etree.QName(child).localname if child is not None else ""
        element = _elements(kind).get(name)
        if child is None or element is None:
            break
        field += f".{name}" if field else name
        if element.repeats:
            field += f"[{sum(1 for _ in child.itersiblings(child.tag, preceding=True))}]"
        if isinstance(element.type, TextType):
            return field, element.type
        node, kind = child, element.type
    return field, kind


def _elements(record: RecordType) -> Mapping[str, Any]:
    return {element.name: element for element in record.elements}


def _child(node: etree._Element, step: str) -> etree._Element | None:
    """The child that a step such as `*[3]` or `h:fees[2]` means."""
    match = _STEP.fullmatch(step)
    if match is None:
        return None
    children = list(node)
    if not step.startswith("*"):
        local = step.partition("[")[0].rpartition(":")[2]
        children = [child for child in children if etree.QName(child).localname == local]
    number = int(match[1] or 1) - 1
    return children[number] if number < len(children) else None
