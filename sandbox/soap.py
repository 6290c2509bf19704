"""SOAP 1.1 and 1.2 envelopes by hand: hardened reading, XSD validation, faults. Knows no business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

ENVELOPE_11 = "http://schemas.xmlsoap.org/soap/envelope/"
ENVELOPE_12 = "http://www.w3.org/2003/05/soap-envelope"
MEDIA = {ENVELOPE_11: "text/xml; charset=utf-8", ENVELOPE_12: "application/soap+xml; charset=utf-8"}
_ROLES_12 = {"Client": "Sender", "Server": "Receiver"}
_ERRORS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """The one payload element of a valid request and the envelope version it came in."""

    envelope: str
    payload: etree._Element


class SoapProblem(Exception):
    """The message was refused as a message; `role` is Client, Server, VersionMismatch or MustUnderstand."""

    def __init__(self, envelope: str, role: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.envelope = envelope
        self.role = role
        self.code = code
        self.reason = reason


class Refuse(etree.Resolver):
    """Refuses whatever a document wants to load."""

    def resolve(self, system_url: str, public_id: str, context: object = None) -> object:
        """Always an error."""
        raise OSError("external references are refused")


def hardened_parser() -> etree.XMLParser:
    """No DTD, no entities, no network; for one thread at a time."""
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    parser.resolvers.add(Refuse())
    return parser


class SoapReader:
    """Reads requests against an XSD; for one thread."""

    def __init__(self, xsd: Path) -> None:
        self._parser = hardened_parser()
        self._schema = etree.XMLSchema(etree.parse(str(xsd)))

    def read(self, body: bytes) -> SoapRequest:
        """The validated payload; SoapProblem for anything else."""
        try:
            root = etree.fromstring(body, self._parser)
        except (etree.XMLSyntaxError, ValueError, OSError):
            raise SoapProblem(ENVELOPE_11, "Client", "malformed", "the message is not well-formed XML") from None
        docinfo: Any = root.getroottree().docinfo
        if docinfo.doctype:
            raise SoapProblem(ENVELOPE_11, "Client", "doctype", "a DOCTYPE is refused")
        envelope, _, local = str(root.tag)[1:].partition("}")
        if local != "Envelope" or envelope not in MEDIA:
            raise SoapProblem(ENVELOPE_11, "VersionMismatch", "version", "not a SOAP 1.1 or 1.2 envelope")
        for header in root.iterfind(f"{{{envelope}}}Header/*"):
            if header.get(f"{{{envelope}}}mustUnderstand") in ("1", "true"):
                raise SoapProblem(envelope, "MustUnderstand", "header", "a mandatory header is unknown here")
        body_element = root.find(f"{{{envelope}}}Body")
        if body_element is None or len(body_element) != 1:
            raise SoapProblem(envelope, "Client", "body", "the body must hold exactly one element")
        payload = body_element[0]
        if not self._schema.validate(payload):
            raise SoapProblem(envelope, "Client", "schema", self._complaints())
        return SoapRequest(envelope, payload)

    def check(self, payload: str) -> None:
        """Hold an answer of ours against the XSD; etree.DocumentInvalid when it breaks it."""
        self._schema.assertValid(etree.fromstring(payload.encode(), self._parser))

    def _complaints(self) -> str:
        # libxml2 quotes the offending value, which may be a person's data: only element and line are passed on.
        places = []
        for error in list(self._schema.error_log)[:_ERRORS_SHOWN]:  # type: ignore[call-overload]
            element = str(error.path or "").rpartition("/")[2].rpartition(":")[2]
            places.append(f"line {error.line}: {element} {error.type_name}")
        return "; ".join(places) or "the message breaks its schema"


def wrap(envelope: str, payload: str) -> bytes:
    """An envelope around one element."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><e:Envelope xmlns:e="{envelope}">'
        f"<e:Body>{payload}</e:Body></e:Envelope>"
    ).encode()


def fault(problem: SoapProblem, detail: str) -> bytes:
    """A fault in the version of the request; `detail` is one element."""
    reason = escape(problem.reason)
    if problem.envelope == ENVELOPE_11:
        inner = (
            f"<e:Fault><faultcode>e:{problem.role}</faultcode><faultstring>{reason}</faultstring>"
            f"<detail>{detail}</detail></e:Fault>"
        )
    else:
        role = _ROLES_12.get(problem.role, problem.role)
        inner = (
            f"<e:Fault><e:Code><e:Value>e:{role}</e:Value></e:Code>"
            f'<e:Reason><e:Text xml:lang="en">{reason}</e:Text></e:Reason><e:Detail>{detail}</e:Detail></e:Fault>'
        )
    return wrap(problem.envelope, inner)


def fault_status(problem: SoapProblem) -> int:
    """HTTP status of a fault: always 500 in SOAP 1.1, 400 for the sender's mistakes in 1.2."""
    return 400 if problem.envelope == ENVELOPE_12 and problem.role == "Client" else 500
