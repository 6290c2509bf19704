"""The one XML parser for everybody: foreign bytes in, a harmless tree out, or Malformed.

Refused before the parser sees a byte: document types, entities, comments, processing instructions, encodings other
than UTF-8, more than 5 MiB or 50,000 nodes. A tree that comes back has one reading only: an element's `text` is all of
its text.
"""

from __future__ import annotations

import re
import threading
from itertools import islice
from typing import Any

from lxml import etree

from schemas.errors import InvalidMessage, Malformed, Violation

BYTES_MAX = 5 * 1024 * 1024
NODES_MAX = 50_000
NODE_BYTES_MIN = 4
ATTRIBUTES_MAX = 64
NAMESPACES_MAX = 1024
VIOLATIONS_MAX = 20

_CDATA = re.compile(rb"<!\[CDATA\[.*?\]\]>", re.DOTALL)
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[ \t\r\n][^>]*\?>")
_ENCODING = re.compile(rb"encoding[ \t\r\n]*=[ \t\r\n]*[\"']([A-Za-z0-9._-]*)[\"']")
_BLAMED = re.compile(r"Element '(?:\{[^}]*\})?([\w.-]{1,64})'")
_has_attributes = etree.XPath("boolean(descendant-or-self::*/@*)")


class _RefuseExternal(etree.Resolver):
    """The second lock: nothing outside the message is ever loaded."""

    def resolve(self, *_: object) -> None:
        raise Malformed("the XML refers to something outside the message", code="xml.external")


class _Parsers(threading.local):
    """One parser per thread."""

    def __init__(self) -> None:
        # collect_ids stays at its default: switching it off makes libxml2 load external entities again.
        self.parser = etree.XMLParser(
            encoding="utf-8",
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            dtd_validation=False,
            attribute_defaults=False,
            huge_tree=False,
            recover=False,
        )
        self.parser.resolvers.add(_RefuseExternal())


_parsers = _Parsers()


def parse_own_xml(raw: bytes) -> etree._Element:
    """The root element of bytes that we wrote ourselves a moment ago."""
    return etree.fromstring(raw, _parsers.parser)


def parse_xml(raw: bytes, *, party: str = "") -> etree._Element:
    """The root element of acceptable bytes; Malformed with a reason that quotes nothing of them otherwise."""
    _check_bytes(raw, party)
    try:
        root = etree.fromstring(raw, _parsers.parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line, column = getattr(error, "position", (0, 0))
        raise Malformed("not well-formed XML", code="xml.syntax", party=party, line=line, column=column) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("the XML carries a document type: remove it", code="xml.doctype", party=party)
    _check_tree(raw, root, party)
    return root


def _check_bytes(raw: bytes, party: str) -> None:
    if len(raw) > BYTES_MAX:
        raise Malformed("the XML is larger than 5 MiB", code="message.too_large", party=party)
    # In UTF-8 a literal "<" starts markup everywhere but inside CDATA, so counting it bounds the nodes from above.
    many = len(raw) > NODE_BYTES_MIN * NODES_MAX and raw.count(b"<") > 2 * NODES_MAX
    if many or raw.count(b"xmlns") > NAMESPACES_MAX:
        raise Malformed("the XML has too many elements or namespaces", code="xml.too_many_nodes", party=party)
    markup = _CDATA.sub(b"", raw) if b"<![CDATA[" in raw else raw
    if b"<!" in markup:
        raise Malformed("the XML carries a document type or a comment: remove it", code="xml.doctype", party=party)
    if b"<?" in markup:
        _check_declaration(raw, markup, party)


def _check_declaration(raw: bytes, markup: bytes, party: str) -> None:
    declaration = _DECLARATION.match(raw)
    if declaration is None or markup.count(b"<?") > 1:
        raise Malformed("the XML carries a processing instruction: remove it", code="xml.instruction", party=party)
    encoding = _ENCODING.search(declaration[0])
    if encoding is not None and encoding[1].lower() not in (b"utf-8", b"us-ascii"):
        raise Malformed("the XML is not declared as UTF-8", code="xml.encoding", party=party)


def _check_tree(raw: bytes, root: etree._Element, party: str) -> None:
    if len(raw) > NODE_BYTES_MIN * NODES_MAX and sum(1 for _ in root.iter()) > NODES_MAX:
        raise Malformed("the XML has too many elements", code="xml.too_many_nodes", party=party)
    if raw.count(b"=") > ATTRIBUTES_MAX and any(len(node.attrib) > ATTRIBUTES_MAX for node in root.iter()):
        raise Malformed("an XML element has too many attributes", code="xml.too_many_attributes", party=party)


def has_attributes(element: etree._Element) -> bool:
    """Whether the element or anything below it carries an attribute (namespace declarations are none)."""
    return bool(_has_attributes(element))


def check_schema(schema: etree.XMLSchema, element: etree._Element, names: frozenset[str], *, party: str = "") -> None:
    """InvalidMessage with one Violation per breach, naming only elements in `names` and quoting no value."""
    if schema.validate(element):
        return
    violations = []
    log: Any = schema.error_log
    for entry in islice(log, VIOLATIONS_MAX):
        blamed = _BLAMED.match(entry.message)
        field = blamed[1] if blamed is not None and blamed[1] in names else "message"
        rule = entry.type_name.removeprefix("SCHEMAV_").lower()
        violations.append(Violation(field, f"xml.{rule}", "send what the message schema allows here"))
    raise InvalidMessage("the XML breaks its schema", *violations, code="xml.schema", party=party)
