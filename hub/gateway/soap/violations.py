"""What breaks the schema, as fields and remedies in the words of the canonical JSON; no received value is repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from lxml import etree

from schemas.errors import Violation
from schemas.soap_types import Element, RecordType, TextType

VIOLATIONS_MAX = 20
_STEP = re.compile(r"(?:\*|(?:[^:/\[\]]+:)?[^:/\[\]]+)(?:\[([0-9]{1,9})\])?")
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
        steps = (entry.path or "").split("/")[2:]
        rule = entry.type_name.removeprefix("SCHEMAV_")
        if rule == "ELEMENT_CONTENT":
            # Either something is missing in an element, or the first child out of place is blamed.
            about = steps if "Missing child" in entry.message else steps[:-1]
            violations = _about_children(*_place(payload, about, record))
        else:
            field, _, kind = _place(payload, steps, record)
            violations = [Violation(field or "message", *_about_value(rule, kind))]
        for violation in violations:
            found.setdefault(violation.field, violation)
    return list(found.values())


def _about_children(field: str, node: etree._Element, kind: RecordType | TextType) -> list[Violation]:
    """Elements are missing, unknown, or not in their places. The validator's own words leave out half of it."""
    if not isinstance(kind, RecordType):
        return [Violation(field or "message", *_GENERAL)]
    there = {etree.QName(child).localname for child in node}
    missing = [element.name for element in kind.elements if element.least and element.name not in there]
    if missing:
        prefix = f"{field}." if field else ""
        return [
            Violation(prefix + name, "xml.missing", "add the element, in the order of the schema") for name in missing
        ]
    order = [element.name for element in kind.elements]
    if there <= set(order):
        remedy = f"send each element as often as the schema says, in its order: {', '.join(order)}"
        return [Violation(field or "message", "xml.order", remedy)]
    remedy = "remove the element that is not part of this message"
    return [Violation(field or "message", "xml.unexpected", remedy)]


def _about_value(rule: str, kind: RecordType | TextType) -> tuple[str, str]:
    if not isinstance(kind, TextType):
        return _GENERAL
    if kind.name in _MONEY:
        return "money", "write yuan with at most two decimals, such as 1234.50"
    if any(facet == "enumeration" for facet, _ in kind.facets):
        return "enum", "use a code of the code set"
    return _BY_BASE.get(kind.base) or _BY_RULE.get(rule, _GENERAL)


def _place(
    payload: etree._Element, steps: list[str], record: RecordType
) -> tuple[str, etree._Element, RecordType | TextType]:
    """The field that a path of the validator means, its element, its type; of an unknown one, those of its parent."""
    field, node, kind = "", payload, record
    for step in steps:
        child = _child(node, step)
        name = etree.QName(child).localname if child is not None else ""
        element = _elements(kind).get(name)
        if child is None or element is None:
            break
        field += f".{name}" if field else name
        if element.repeats:
            field += f"[{sum(1 for _ in child.itersiblings(child.tag, preceding=True))}]"
        if isinstance(element.type, TextType):
            return field, child, element.type
        node, kind = child, element.type
    return field, node, kind


def _elements(record: RecordType) -> Mapping[str, Element]:
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
