"""Opening a request's envelope, and wrapping answers and faults: one body with one message, no surprises around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

from adapters.safe_xml import parse_xml
from adapters.xml_charset import in_utf8
from hub.gateway.soap.shapes import escaped
from hub.gateway.soap.versions import SOAP_12, SoapRequest, SoapVersion
from schemas.errors import Malformed
from schemas.soap import MESSAGE_ID, SERVICE_NAMESPACE

HEADERS_MAX = 20
_MESSAGE_ID = f"{{{SERVICE_NAMESPACE}}}{MESSAGE_ID}"
_ID = re.compile(r"[0-9A-Za-z._:-]{1,64}", re.ASCII)
_UTILITY_ID = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}Id"
_YES_NO = {"": False, "0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, slots=True)
class Opened:
    """The message proper, the header blocks for us by their tags, and the sender's id of the message if given."""

    payload: etree._Element
    blocks: dict[str, etree._Element]
    message_id: str


def open_envelope(raw: bytes, said: SoapRequest, understood: frozenset[str] = frozenset()) -> Opened:
    """The parts of a request; Malformed, with a code for each reason, for anything out of the ordinary.

    `understood` are the tags of header blocks that the caller takes care of.
    """
    named = f"charset={said.charset}" if said.charset else ""
    root = parse_xml(in_utf8(raw, named))
    version = said.version
    if root.tag != version.tag("Envelope"):
        raise Malformed("this is no envelope of the SOAP version that the content type names", code="soap.version")
    header, body = _parts(root, version)
    _check_frame([root, body, *([header] if header is not None else [])], version)
    blocks = _blocks(header, version, understood | {_MESSAGE_ID}) if header is not None else {}
    return Opened(body[0], blocks, _message_id(blocks.get(_MESSAGE_ID)))


def _parts(root: etree._Element, version: SoapVersion) -> tuple[etree._Element | None, etree._Element]:
    tags = [part.tag for part in root]
    if tags not in ([version.tag("Body")], [version.tag("Header"), version.tag("Body")]):
        raise Malformed("an envelope holds a header, if any, and one body", code="soap.envelope")
    header, body = (root[0], root[1]) if len(root) == 2 else (None, root[0])
    if len(body) != 1:
        raise Malformed("the body must hold exactly one message", code="soap.body")
    return header, body


def _check_frame(frame: list[etree._Element], version: SoapVersion) -> None:
    """Nothing may stand between the parts, and no attribute change their meaning."""
    for part in frame:
        if version.tag("encodingStyle") in part.attrib or version.tag("encodingStyle") in part[0].attrib:
            raise Malformed("an encoding style: this service is document/literal", code="soap.encoding_style")
        if any(name != _UTILITY_ID for name in part.attrib):
            raise Malformed("an attribute on the envelope, header or body", code="xml.attribute")
        if (part.text or "").strip() or any((child.tail or "").strip() for child in part):
            raise Malformed("text between the parts of the envelope", code="soap.envelope")


def _blocks(header: etree._Element, version: SoapVersion, understood: frozenset[str]) -> dict[str, etree._Element]:
    if len(header) > HEADERS_MAX:
        raise Malformed("too many header blocks", code="soap.header")
    found: dict[str, etree._Element] = {}
    for block in header:
        must = _YES_NO.get(block.get(version.tag("mustUnderstand"), "").strip())
        if must is None:
            raise Malformed("mustUnderstand is neither true nor false", code="soap.header")
        if block.get(version.tag(version.actor), "").strip() not in version.ours:
            continue
        if must and block.tag not in understood:
            raise Malformed("a header block that must be understood and is not", code="soap.must_understand")
        if block.tag in understood:
            if block.tag in found:
                raise Malformed("a header block comes twice", code="soap.header")
            found[block.tag] = block
    return found


def _message_id(block: etree._Element | None) -> str:
    if block is None:
        return ""
    given = (block.text or "").strip()
    if len(block) or not _ID.fullmatch(given):
        raise Malformed("MessageId is 1 to 64 letters, digits and . _ : -", code="soap.message_id")
    return given


def wrap(version: SoapVersion, content: str) -> bytes:
    """The envelope around an element that is written already."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{version.namespace}">'
        f"<soap:Body>{content}</soap:Body></soap:Envelope>"
    ).encode()


def fault(version: SoapVersion, code: str, reason: str, detail: str) -> bytes:
    """A fault: `code` is the local name of one of SOAP's own codes, `detail` an element that is written already."""
    if version is SOAP_12:
        said = f'<soap:Reason><soap:Text xml:lang="zh">{escaped(reason)}</soap:Text></soap:Reason>'
        held = f"<soap:Detail>{detail}</soap:Detail>"
        return wrap(
            version, f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>{said}{held}</soap:Fault>"
        )
    said = f'<faultcode>soap:{code}</faultcode><faultstring xml:lang="zh">{escaped(reason)}</faultstring>'
    return wrap(version, f"<soap:Fault>{said}<detail>{detail}</detail></soap:Fault>")
