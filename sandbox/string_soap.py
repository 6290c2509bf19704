"""Reading and writing SOAP 1.1 services of one string in and one string out, for the parties that speak so.

Reads by local names and takes what a lenient Java stack would take; shares nothing with the hub's adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from sandbox.soap import ENVELOPE_11, SoapProblem, fault, hardened_parser
from sandbox.web import Reply

_ENCODED = "http://schemas.xmlsoap.org/soap/encoding/"


@dataclass(frozen=True, slots=True)
class StringCall:
    """One call: the operation and the document inside its string."""

    operation: str
    document: etree._Element


def read_call(body: bytes) -> StringCall:
    """The call in an envelope; SoapProblem for anything else."""
    envelope = _parsed(body)
    operations = list(envelope.iterfind(f"{{{ENVELOPE_11}}}Body/*"))
    if len(operations) != 1 or len(operations[0]) != 1:
        raise SoapProblem(ENVELOPE_11, "Client", "body", "one operation with one string is expected")
    operation = operations[0]
    return StringCall(name_of(operation), _parsed((operation[0].text or "").encode()))


def _parsed(raw: bytes) -> etree._Element:
    try:
        return etree.fromstring(raw, hardened_parser())
    except (etree.XMLSyntaxError, ValueError, OSError):
        raise SoapProblem(ENVELOPE_11, "Client", "malformed", "the message is not well-formed XML") from None


def name_of(element: etree._Element) -> str:
    """Local name."""
    return str(etree.QName(element).localname)


def texts(element: etree._Element | None) -> dict[str, str]:
    """The plain children of an element."""
    if element is None:
        return {}
    return {name_of(child): (child.text or "").strip() for child in element if not len(child)}


def document_reply(operation: str, returned: str, text: str, *, namespace: str, encoding: str = "UTF-8") -> Reply:
    """A document/literal answer, its string in a CDATA section."""
    inner = f'<ns2:{operation}Response xmlns:ns2="{namespace}"><{returned}><![CDATA[{text}]]></{returned}>'
    return _reply(f"{inner}</ns2:{operation}Response>", encoding)


def rpc_reply(operation: str, text: str, *, namespace: str) -> Reply:
    """An rpc/encoded answer, its string escaped."""
    inner = (
        f'<ns1:{operation}Response soapenv:encodingStyle="{_ENCODED}" xmlns:ns1="{namespace}">'
        f'<ns1:{operation}Return xsi:type="xsd:string" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{escape(text)}</ns1:{operation}Return>'
    )
    return _reply(f"{inner}</ns1:{operation}Response>", "UTF-8")


def _reply(body: str, encoding: str) -> Reply:
    whole = (
        f'<?xml version="1.0" encoding="{encoding}"?><soapenv:Envelope xmlns:soapenv="{ENVELOPE_11}">'
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
    return Reply(whole.encode(encoding), 200, f"text/xml;charset={encoding}")


def fault_reply(problem: SoapProblem) -> Reply:
    """A fault without a detail: these systems have none."""
    return Reply(fault(problem, ""), 500, "text/xml;charset=utf-8")
