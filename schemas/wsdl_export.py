"""Writes the service description from the canonical models: `python -m schemas.wsdl_export [FOLDER]`.

`settlement_hub.xsd` holds the elements, `settlement_hub.wsdl` the operations; a test holds the files in the package to
what this module writes. The gateway serves both as one document, so that a client has nothing else to fetch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from schemas.soap import FAULT, MESSAGE_ID, OPERATIONS, RESPONSE, SERVICE, SERVICE_NAMESPACE
from schemas.soap_types import Element, RecordType, TextType, service_types
from schemas.transactions import SPECS, SUMMARIES, Transaction
from schemas.wsdl import HUB_WSDL, HUB_XSD

FOLDER = Path("schemas/wsdl")
ADDRESS = "http://127.0.0.1:8480/soap/settlement"
SOAP_11 = "http://schemas.xmlsoap.org/wsdl/soap/"
SOAP_12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
_IMPORT = f'    <xs:schema><xs:import namespace="{SERVICE_NAMESPACE}" schemaLocation="{HUB_XSD}"/></xs:schema>\n'
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_WSDL_HEAD = f"""{_DECLARATION}<wsdl:definitions name="{SERVICE}" targetNamespace="{SERVICE_NAMESPACE}"
    xmlns:tns="{SERVICE_NAMESPACE}" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:soap="{SOAP_11}"
    xmlns:soap12="{SOAP_12}">
  <wsdl:documentation>Settlement hub: document/literal over SOAP 1.1 and 1.2. Send the same message again when no answer
    came: it is answered again, not carried out again. A {MESSAGE_ID} header block may name the message; without it the
    content does. Every refusal is a fault with a {FAULT} as its detail.</wsdl:documentation>
  <wsdl:types>
"""


def action_of(operation: str) -> str:
    """The SOAPAction of an operation."""
    return f"{SERVICE_NAMESPACE}:{operation}"


def xsd_text() -> str:
    """The schema of all elements, as a file of its own."""
    return _DECLARATION + "".join(f"{line}\n" for line in _schema_lines())


def wsdl_text(address: str = ADDRESS, *, complete: bool = False) -> str:
    """The service description; `complete` has the schema inside instead of naming its file."""
    types = "".join(f"    {line}\n" for line in _schema_lines()) if complete else _IMPORT
    rest = "".join(f"  {line}\n" for line in _operation_lines(address))
    return f"{_WSDL_HEAD}{types}  </wsdl:types>\n{rest}</wsdl:definitions>\n"


def _schema_lines() -> Iterator[str]:
    types = service_types()
    yield f'<xs:schema targetNamespace="{SERVICE_NAMESPACE}" xmlns:tns="{SERVICE_NAMESPACE}"'
    yield '    xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">'
    for transaction, operation in OPERATIONS.items():
        spec = SPECS[transaction]
        assert spec.answer is not None
        yield f'  <xs:element name="{operation}" type="tns:{spec.message.__name__}"/>'
        yield f'  <xs:element name="{operation}{RESPONSE}" type="tns:{spec.answer.__name__}"/>'
    yield f'  <xs:element name="{FAULT}" type="tns:{FAULT}"/>'
    yield f'  <xs:element name="{MESSAGE_ID}" type="tns:Identifier"/>'
    texts = {each.name: each for each in _texts_in(types.values()) if each.name}
    for name in sorted(texts):
        yield from _indented(_simple_type(texts[name]))
    for name in sorted(types):
        yield from _indented(_complex_type(types[name]))
    yield "</xs:schema>"


def _texts_in(types: Iterable[RecordType]) -> Iterator[TextType]:
    for each in types:
        for element in each.elements:
            if isinstance(element.type, TextType):
                yield element.type


def _simple_type(text: TextType) -> Iterator[str]:
    yield f'<xs:simpleType name="{text.name}">' if text.name else "<xs:simpleType>"
    yield from _documentation(text.about)
    yield f'  <xs:restriction base="xs:{text.base}">'
    for facet, value in text.facets:
        yield f"    <xs:{facet} value={quoteattr(value)}/>"
    yield "  </xs:restriction>"
    yield "</xs:simpleType>"


def _complex_type(record: RecordType) -> Iterator[str]:
    yield f'<xs:complexType name="{record.name}">'
    yield from _documentation(record.about)
    yield "  <xs:sequence>"
    for element in record.elements:
        yield from (f"    {line}" for line in _element(element))
    yield "  </xs:sequence>"
    yield "</xs:complexType>"


def _element(element: Element) -> Iterator[str]:
    least = f' minOccurs="{element.least}"' if element.least != 1 else ""
    most = f' maxOccurs="{"unbounded" if element.most is None else element.most}"' if element.repeats else ""
    kind = element.type
    if isinstance(kind, RecordType) or kind.name or not kind.facets:
        name = f"tns:{kind.name}" if kind.name else f"xs:{kind.base}" if isinstance(kind, TextType) else ""
        yield f'<xs:element name="{element.name}" type="{name}"{least}{most}/>'
        return
    yield f'<xs:element name="{element.name}"{least}{most}>'
    yield from _indented(_simple_type(kind))
    yield "</xs:element>"


def _documentation(about: str) -> Iterator[str]:
    if about:
        yield f"  <xs:annotation><xs:documentation>{escape(about)}</xs:documentation></xs:annotation>"


def _operation_lines(address: str) -> Iterator[str]:
    for operation in OPERATIONS.values():
        yield from _message(operation, "parameters", operation)
        yield from _message(f"{operation}{RESPONSE}", "parameters", f"{operation}{RESPONSE}")
    yield from _message(FAULT, "fault", FAULT)
    yield f'<wsdl:portType name="{SERVICE}">'
    for transaction, operation in OPERATIONS.items():
        yield from _indented(_port_operation(transaction, operation))
    yield "</wsdl:portType>"
    for prefix, version in (("soap", "11"), ("soap12", "12")):
        yield from _binding(prefix, version)
    yield f'<wsdl:service name="{SERVICE}">'
    for prefix, version in (("soap", "11"), ("soap12", "12")):
        yield f'  <wsdl:port name="{SERVICE}{version}" binding="tns:{SERVICE}{version}">'
        yield f"    <{prefix}:address location={quoteattr(address)}/>"
        yield "  </wsdl:port>"
    yield "</wsdl:service>"


def _message(name: str, part: str, element: str) -> Iterator[str]:
    yield f'<wsdl:message name="{name}"><wsdl:part name="{part}" element="tns:{element}"/></wsdl:message>'


def _port_operation(transaction: Transaction, operation: str) -> Iterator[str]:
    about = f"{transaction.value} ({SPECS[transaction].source}): {SUMMARIES[transaction]}"
    yield f'<wsdl:operation name="{operation}">'
    yield f"  <wsdl:documentation>{escape(about)}</wsdl:documentation>"
    yield f'  <wsdl:input message="tns:{operation}"/>'
    yield f'  <wsdl:output message="tns:{operation}{RESPONSE}"/>'
    yield f'  <wsdl:fault name="{FAULT}" message="tns:{FAULT}"/>'
    yield "</wsdl:operation>"


def _binding(prefix: str, version: str) -> Iterator[str]:
    yield f'<wsdl:binding name="{SERVICE}{version}" type="tns:{SERVICE}">'
    yield f'  <{prefix}:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>'
    for operation in OPERATIONS.values():
        yield f'  <wsdl:operation name="{operation}">'
        yield f'    <{prefix}:operation soapAction="{action_of(operation)}" style="document"/>'
        yield f'    <wsdl:input><{prefix}:body use="literal"/></wsdl:input>'
        yield f'    <wsdl:output><{prefix}:body use="literal"/></wsdl:output>'
        yield f'    <wsdl:fault name="{FAULT}"><{prefix}:fault name="{FAULT}" use="literal"/></wsdl:fault>'
        yield "  </wsdl:operation>"
    yield "</wsdl:binding>"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def files() -> dict[str, str]:
    """File name -> content."""
    return {HUB_WSDL: wsdl_text(), HUB_XSD: xsd_text()}


def main() -> None:
    """Write both files to the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, content in files().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
