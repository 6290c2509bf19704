"""Reading and writing XML by tables that are compiled once from the types of a WSDL.

zeep reads the WSDL and knows the types; converting values through its type objects costs about ten times as much as
these tables do. The contract tests hold both to the same content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from schemas.errors import InvalidMessage, Violation

Shape = dict[str, tuple[str, bool, "Shape | None"]]
"""Tag with namespace -> (local name, may repeat, shape of the children or None for plain text)."""

# What must be written as a reference, and what XML 1.0 cannot carry at all.
SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def shape_of(xsd_type: Any) -> Shape | None:
    """The reading table of a zeep type; None when it holds plain text."""
    elements = getattr(xsd_type, "elements", None)
    if not elements:
        return None
    return {element.qname.text: (name, element.accepts_multiple, shape_of(element.type)) for name, element in elements}


def names_in(shape: Shape | None) -> frozenset[str]:
    """All local names of a shape and what is below it."""
    found: set[str] = set()
    for name, _, below in (shape or {}).values():
        found |= {name} | names_in(below)
    return frozenset(found)


def read(node: etree._Element, shape: Shape) -> dict[str, Any]:
    """A schema-valid element as a dict: text as str, repeating elements as lists, the rest as dicts."""
    found: dict[str, Any] = {}
    for child in node:
        name, repeats, below = shape[child.tag]
        value: Any = (child.text or "") if below is None else read(child, below)
        if repeats:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


class Writer:
    """Writes values of one complex type as XML text, in the schema's order, in the default namespace."""

    def __init__(self, xsd_type: Any) -> None:
        names, template, plain = [], [], []
        self._rest: list[tuple[int, str, str, bool, Writer | None]] = []
        for place, (name, element) in enumerate(xsd_type.elements):
            frame = f"<{name}>%s</{name}>"
            below = Writer(element.type) if getattr(element.type, "elements", None) else None
            if below is None and not element.is_optional and not element.accepts_multiple:
                plain.append(place)
                template.append(frame)
            else:
                self._rest.append((place, name, frame, element.accepts_multiple, below))
                template.append("%s")
            names.append(name)
        self._names = tuple(names)
        self._row_of = _picker(names)
        self._plain = tuple(plain)
        self._plain_of = _picker(plain)
        self._template = "".join(template)

    def write(self, values: Mapping[str, Any]) -> str:
        """The element's content. `values` names every element of the type, None for one that is left out."""
        row = list(self._row_of(values))
        if SPECIAL.search("".join(self._plain_of(row))):
            for place in self._plain:
                row[place] = escaped(row[place], self._names[place])
        for place, name, frame, repeats, below in self._rest:
            value = row[place]
            if value is None:
                row[place] = ""
            elif below is None:
                row[place] = frame % escaped(value, name)
            elif repeats:
                row[place] = "".join([frame % below.write(each) for each in value])
            else:
                row[place] = frame % below.write(value)
        return self._template % tuple(row)


def _picker(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """itemgetter that always gives a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: tuple(values[key] for key in keys)


def escaped(text: str, field: str) -> str:
    """Text as XML content; InvalidMessage for characters that XML cannot carry."""
    if not SPECIAL.search(text):
        return text
    if _UNWRITABLE.search(text):
        raise InvalidMessage("text that XML cannot carry", Violation(field, "xml.character", "remove the character"))
    return escape(text, {"\r": "&#13;"})
