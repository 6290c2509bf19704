"""Canonical JSON from schema-valid XML and back, by tables that are compiled once from the types of the service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from schemas.soap import SERVICE_NAMESPACE
from schemas.soap_types import RecordType, TextType

Convert = Callable[[str], Any]
Reader = dict[str, tuple[str, bool, "Convert | None", "Reader | None"]]
"""Tag with namespace -> (field, may repeat, what the text becomes or None for itself, table of the children)."""

_TRUE = frozenset({"true", "1"})
_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def reader_of(record: RecordType) -> Reader:
    """The reading table of a type."""
    table: Reader = {}
    for element in record.elements:
        tag = f"{{{SERVICE_NAMESPACE}}}{element.name}"
        if isinstance(element.type, RecordType):
            table[tag] = (element.name, element.repeats, None, reader_of(element.type))
        else:
            table[tag] = (element.name, element.repeats, _convert(element.type), None)
    return table


def _convert(text: TextType) -> Convert | None:
    if text.base == "boolean":
        return lambda value: value.strip() in _TRUE
    if text.base == "int":
        return int
    # The schema lets white space stand around everything that is no text.
    return None if text.base == "string" else str.strip


def read(node: etree._Element, table: Reader) -> dict[str, Any]:
    """The content of a schema-valid element as the canonical JSON has it."""
    found: dict[str, Any] = {}
    for child in node:
        name, repeats, convert, below = table[child.tag]
        if below is not None:
            value: Any = read(child, below)
        else:
            value = child.text or ""
            if convert is not None:
                value = convert(value)
        if repeats:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class _Written:
    name: str
    opening: str
    closing: str
    repeats: bool
    below: Writer | None


class Writer:
    """Writes canonical JSON of one type as the element's content, in the schema's order."""

    def __init__(self, record: RecordType) -> None:
        self._elements = tuple(
            _Written(
                element.name,
                f"<{element.name}>",
                f"</{element.name}>",
                element.repeats,
                Writer(element.type) if isinstance(element.type, RecordType) else None,
            )
            for element in record.elements
        )

    def write(self, values: Mapping[str, Any]) -> str:
        """Fields without a value and fields that the type does not know are left out."""
        parts: list[str] = []
        for element in self._elements:
            value = values.get(element.name)
            if value is None:
                continue
            for each in value if element.repeats else (value,):
                content = _text(each) if element.below is None else element.below.write(each)
                parts += (element.opening, content, element.closing)
        return "".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def escaped(text: str) -> str:
    """Text as XML content. What XML cannot carry at all becomes the replacement character."""
    if not _SPECIAL.search(text):
        return text
    return escape(_UNWRITABLE.sub("\ufffd", text), {"\r": "&#13;"})
