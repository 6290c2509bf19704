"""SOAP 1.1 services that take one string and answer one string, the message proper being XML inside that string.

The insurers' critical-illness systems are built like this, document/literal and rpc/encoded. Namespaces differ from
deployment to deployment, so answers are read by local names; everything else about them is read strictly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lxml import etree

from adapters.safe_xml import has_attributes, parse_xml
from adapters.xml_charset import in_utf8, inner_xml
from adapters.xml_shapes import SPECIAL, escaped
from schemas.errors import InvalidMessage, Malformed, Violation
from schemas.payer import RawAnswer

CONTENT_TYPE = "text/xml; charset=utf-8"
HEADERS = {"SOAPAction": '""'}
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_ENCODING_STYLE = "http://schemas.xmlsoap.org/soap/encoding/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_XSD = "http://www.w3.org/2001/XMLSchema"
_MEDIA_TYPES = frozenset({"text/xml", "application/xml"})
Style = Literal["document", "rpc"]


@dataclass(frozen=True, slots=True)
class Heard:
    """The string that came back, or None with `code` saying why there is none: http.502, fault.Server."""

    text: str | None
    code: str = ""


@dataclass(frozen=True, slots=True)
class StringService:
    """One such service: how its envelopes are written and opened."""

    namespace: str
    style: Style = "document"
    qualified: bool = False
    """Whether the argument is in the namespace too (elementFormDefault), which WSDLs decide either way."""

    def wrap(self, operation: str, argument: str, text: str) -> bytes:
        """The envelope around `text`; InvalidMessage for characters that XML cannot carry."""
        inner = escaped(text, argument)
        if self.style == "rpc":
            body = (
                f'<m:{operation} xmlns:m="{self.namespace}" soapenv:encodingStyle="{_ENCODING_STYLE}">'
                f'<{argument} xsi:type="xsd:string">{inner}</{argument}></m:{operation}>'
            )
            spaces = f' xmlns:xsi="{_XSI}" xmlns:xsd="{_XSD}"'
        else:
            name = f"m:{argument}" if self.qualified else argument
            body = f'<m:{operation} xmlns:m="{self.namespace}"><{name}>{inner}</{name}></m:{operation}>'
            spaces = ""
        return (
            f'<?xml version="1.0" encoding="utf-8"?>\n<soapenv:Envelope xmlns:soapenv="{_SOAP}"{spaces}>'
            f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        ).encode()

    def open(self, operation: str, answer: RawAnswer, *, party: str) -> Heard:
        """The string inside an answer; Malformed for what is no answer of this operation."""
        if answer.status not in (200, 500):
            return Heard(None, f"http.{answer.status}")
        if answer.content_type.partition(";")[0].strip().lower() not in _MEDIA_TYPES:
            if answer.status == 200:
                raise Malformed("an answer that is not SOAP", code="soap.content_type", party=party)
            return Heard(None, f"http.{answer.status}")
        payload = _payload(parse_xml(in_utf8(answer.body, answer.content_type, party=party), party=party), party)
        if payload.tag == f"{{{_SOAP}}}Fault":
            return Heard(None, f"fault.{(payload.findtext('faultcode') or '').rpartition(':')[2].strip()[:50]}")
        if answer.status != 200:
            return Heard(None, f"http.{answer.status}")
        return Heard(self._string(operation, payload, party))

    def _string(self, operation: str, payload: etree._Element, party: str) -> str:
        if local_name(payload) != f"{operation}Response" or len(payload) != 1 or len(payload[0]):
            raise Malformed("an answer to another operation", code="soap.operation", party=party)
        if not local_name(payload[0]).lower().endswith("return"):
            raise Malformed("an answer that returns nothing", code="soap.operation", party=party)
        allowed = {f"{{{_SOAP}}}encodingStyle", f"{{{_XSI}}}type"} if self.style == "rpc" else set()
        if not {str(name) for node in (payload, payload[0]) for name in node.attrib} <= allowed:
            raise Malformed("attributes where none belong", code="xml.attribute", party=party)
        return payload[0].text or ""


def _payload(root: etree._Element, party: str) -> etree._Element:
    parts = [part for part in root if part.tag != f"{{{_SOAP}}}Header"]
    if root.tag != f"{{{_SOAP}}}Envelope" or len(root) - len(parts) > 1:
        raise Malformed("not a SOAP 1.1 envelope", code="soap.envelope", party=party)
    if len(parts) != 1 or parts[0].tag != f"{{{_SOAP}}}Body" or len(parts[0]) != 1:
        raise Malformed("not one body with one message", code="soap.body", party=party)
    if any(entry.get(f"{{{_SOAP}}}mustUnderstand", "0").strip() not in ("0", "false") for entry in root[0]):
        raise Malformed("a header that must be understood and is not", code="soap.header", party=party)
    return parts[0][0]


def local_name(element: etree._Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def head_and_body(text: str, *, party: str) -> tuple[dict[str, str], etree._Element]:
    """The fields of `head` and the element `body` of an inner message; Malformed when it is not made of the two."""
    root = inner_xml(text, party=party)
    if [local_name(part) for part in root] != ["head", "body"] or has_attributes(root):
        raise Malformed("an inner message that is not head and body", code="inner.parts", party=party)
    return fields_of(root[0], party=party), root[1]


def fields_of(element: etree._Element, *, party: str) -> dict[str, str]:
    """Plain children by name, stripped; InvalidMessage when a field comes twice or holds more than text."""
    found: dict[str, str] = {}
    for child in element:
        name = local_name(child)
        if len(child) or name in found:
            blamed = Violation(name[:64], "field.ambiguous", "send each field once, as plain text")
            raise InvalidMessage("a field with two readings", blamed, code="answer.ambiguous", party=party)
        found[name] = (child.text or "").strip()
    return found


def xml_fields(values: Mapping[str, str | None]) -> str:
    """Plain elements in order; None is an empty one, since these systems expect every field of a message."""
    if not SPECIAL.search("".join(filter(None, values.values()))):  # one look at all of them: bills have many lines
        return "".join([f"<{name}>{text or ''}</{name}>" for name, text in values.items()])
    return "".join([f"<{name}>{escaped(text or '', name)}</{name}>" for name, text in values.items()])


class Row:
    """An element of the same plain fields again and again, such as a fee line: `write` takes their texts in order."""

    def __init__(self, element: str, *names: str) -> None:
        self._names = names
        self._template = xml_block(element, [f"<{name}>%s</{name}>" for name in names])

    def write(self, *texts: str) -> str:
        """The element; InvalidMessage for characters that XML cannot carry."""
        if SPECIAL.search("".join(texts)):
            texts = tuple(escaped(text, name) for text, name in zip(texts, self._names, strict=True))
        return self._template % texts


def xml_block(name: str, parts: Iterable[str]) -> str:
    """An element around parts that are XML already."""
    return f"<{name}>{''.join(parts)}</{name}>"
