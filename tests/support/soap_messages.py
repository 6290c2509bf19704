"""SOAP messages written by hand, and answers taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from hub.gateway.soap.versions import SOAP_11, SoapVersion
from schemas.soap import SERVICE_NAMESPACE


def xml_of(values: Mapping[str, Any]) -> str:
    """Canonical JSON as elements; a list is its element repeated."""
    fields = [
        (name, each) for name, value in values.items() for each in (value if isinstance(value, list) else [value])
    ]
    return "".join(f"<{name}>{_content(each)}</{name}>" for name, each in fields)


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        return xml_of(value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def payload(operation: str, values: Mapping[str, Any]) -> str:
    """The element of one operation."""
    return f'<{operation} xmlns="{SERVICE_NAMESPACE}">{xml_of(values)}</{operation}>'


def envelope(content: str, version: SoapVersion = SOAP_11, header: str = "") -> bytes:
    """An envelope around what stands in its body."""
    head = f"<s:Header>{header}</s:Header>" if header else ""
    return f'<s:Envelope xmlns:s="{version.namespace}">{head}<s:Body>{content}</s:Body></s:Envelope>'.encode()


@dataclass(frozen=True)
class SoapReply:
    """An answer or a fault, taken apart by names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.body)

    def text(self, name: str) -> str:
        """The text of the first element with this local name; empty when there is none."""
        return next((str(found.text) for found in self.root.iter(f"{{*}}{name}")), "")

    @property
    def code(self) -> str:
        """The code of the typed fault; empty when this is none."""
        return self.text("code") if self.root.find(".//{*}HubFault") is not None else ""

    @property
    def blamed(self) -> str:
        """The local name of SOAP's own fault code."""
        return (self.text("faultcode") or self.text("Value")).rpartition(":")[2]
