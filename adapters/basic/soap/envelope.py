"""SOAP 1.1 and 1.2 envelopes: wrapping a request, opening an answer, reading a fault."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from adapters.basic.soap.contract import Version
from adapters.safe_xml import parse_xml
from schemas.errors import Malformed

_NAMESPACES: dict[Version, str] = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
_MEDIA_TYPES: dict[Version, str] = {"1.1": "text/xml", "1.2": "application/soap+xml"}
_SENDERS = {"1.1": "Client", "1.2": "Sender"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP fault: `code` is its local name, `by_sender` whether the payer blames our message."""

    code: str
    by_sender: bool
    detail: etree._Element | None


class Envelope:
    """One SOAP version's way to wrap and open messages."""

    def __init__(self, version: Version) -> None:
        self._namespace = _NAMESPACES[version]
        self._sender = _SENDERS[version]
        self._version = version
        self.media_type = _MEDIA_TYPES[version]
        self._head = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<soap:Envelope xmlns:soap="{self._namespace}"><soap:Body>'
        )
        self._tail = "</soap:Body></soap:Envelope>"

    def wrap(self, element: str, namespace: str, content: str) -> bytes:
        """The whole message around `content`, which becomes the payload's children."""
        return f'{self._head}<{element} xmlns="{namespace}">{content}</{element}>{self._tail}'.encode()

    def element_of(self, raw: bytes) -> str:
        """The payload element of a message that `wrap` made."""
        start = len(self._head) + 1
        return raw[start : raw.index(b" ", start)].decode("ascii")

    def content_type(self, action: str) -> str:
        """SOAP 1.2 carries the action here; SOAP 1.1 in a header of its own."""
        parameters = f'; action="{action}"' if self._version == "1.2" else ""
        return f"{self.media_type}; charset=utf-8{parameters}"

    def headers(self, action: str) -> dict[str, str]:
        """Headers beside the content type."""
        return {"SOAPAction": f'"{action}"'} if self._version == "1.1" else {}

    def open(self, raw: bytes, *, party: str) -> etree._Element:
        """The one element in the body; Malformed when this is no envelope of our version."""
        root = parse_xml(raw, party=party)
        parts = list(root)
        if root.tag != self._name("Envelope") or not parts:
            raise Malformed("not a SOAP envelope of the agreed version", code="soap.envelope", party=party)
        if len(parts) == 2 and parts[0].tag == self._name("Header"):
            self._check_header(parts.pop(0), party)
        if len(parts) != 1 or parts[0].tag != self._name("Body") or len(parts[0]) != 1:
            raise Malformed("not one body with one message", code="soap.body", party=party)
        if parts[0].get(self._name("encodingStyle")) or root.get(self._name("encodingStyle")):
            raise Malformed("an encoding style where none was agreed", code="soap.encoding_style", party=party)
        return parts[0][0]

    def fault_in(self, payload: etree._Element) -> Fault | None:
        """The fault when the payload is one."""
        if payload.tag != self._name("Fault"):
            return None
        if self._version == "1.1":
            code, detail = payload.find("faultcode"), payload.find("detail")
        else:
            code = payload.find(f"{self._name('Code')}/{self._name('Value')}")
            detail = payload.find(self._name("Detail"))
        local, ours = self._code_of(code)
        typed = detail[0] if detail is not None and len(detail) == 1 else None
        return Fault(local[:50], ours and local == self._sender, typed)

    def _code_of(self, code: etree._Element | None) -> tuple[str, bool]:
        """Local name of a fault code, and whether its prefix means our SOAP namespace where it stands."""
        if code is None:
            return "", False
        prefix, _, local = (code.text or "").strip().rpartition(":")
        return local, code.nsmap.get(prefix or None) == self._namespace

    def _check_header(self, header: etree._Element, party: str) -> None:
        name = self._name("mustUnderstand")
        if any(entry.get(name, "0").strip() not in ("0", "false") for entry in header):
            raise Malformed("a header that must be understood and is not", code="soap.header", party=party)

    def _name(self, local: str) -> str:
        return f"{{{self._namespace}}}{local}"
