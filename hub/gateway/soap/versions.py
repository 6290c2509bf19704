"""SOAP 1.1 and 1.2: their names, and what the HTTP headers of a request say about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from schemas.errors import Malformed


@dataclass(frozen=True, slots=True)
class SoapVersion:
    """One version: its envelope namespace, its media type, and whom its faults can blame."""

    namespace: str
    media_type: str
    sender: str
    receiver: str
    actor: str
    """The attribute that says for whom a header block is."""
    ours: frozenset[str]
    """Its values that mean the one who reads the message."""

    def tag(self, local: str) -> str:
        return f"{{{self.namespace}}}{local}"

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; charset=utf-8"


_ROLES = "http://www.w3.org/2003/05/soap-envelope/role"
SOAP_11 = SoapVersion(
    "http://schemas.xmlsoap.org/soap/envelope/",
    "text/xml",
    "Client",
    "Server",
    "actor",
    frozenset({"", "http://schemas.xmlsoap.org/soap/actor/next"}),
)
SOAP_12 = SoapVersion(
    "http://www.w3.org/2003/05/soap-envelope",
    "application/soap+xml",
    "Sender",
    "Receiver",
    "role",
    frozenset({"", f"{_ROLES}/next", f"{_ROLES}/ultimateReceiver"}),
)
_BY_MEDIA_TYPE = {version.media_type: version for version in (SOAP_11, SOAP_12)}
_PARAMETER = re.compile(r';[ \t]*([A-Za-z0-9!#$&^_.+-]+)[ \t]*=[ \t]*("[^"\\]*"|[^";\\ \t]+)[ \t]*')


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """What the headers say: the version, the encoding, and the action when one is named."""

    version: SoapVersion
    charset: str
    action: str | None


def read_headers(request: Request) -> SoapRequest:
    """Malformed (415) for anything but one plain SOAP message: attachments, MTOM, compression, other types."""
    given = request.headers.getlist("content-type")
    media_type, semicolon, rest = (given[0] if len(given) == 1 else "").partition(";")
    version = _BY_MEDIA_TYPE.get(media_type.strip().lower())
    parameters = _parameters(semicolon + rest)
    coded = request.headers.get("content-encoding", "identity").strip().lower()
    if version is None or parameters is None or coded != "identity":
        raise Malformed("the content type is neither text/xml nor application/soap+xml", code="soap.content_type")
    action = parameters.get("action") if version is SOAP_12 else _soap_action(request)
    return SoapRequest(version, parameters.get("charset", ""), action or None)


def _parameters(text: str) -> dict[str, str] | None:
    """The parameters of a content type; None when they cannot be read or one comes twice."""
    found: dict[str, str] = {}
    place = 0
    for match in _PARAMETER.finditer(text):
        name = match[1].lower()
        if match.start() != place or name in found:
            return None
        found[name] = match[2].strip('"')
        place = match.end()
    return found if text[place:].strip(" \t;") == "" else None


def _soap_action(request: Request) -> str:
    given = request.headers.getlist("soapaction")
    if len(given) > 1:
        raise Malformed("more than one SOAPAction", code="soap.action")
    return given[0].strip().strip('"') if given else ""
