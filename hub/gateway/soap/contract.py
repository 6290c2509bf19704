"""The service as the server uses it: each operation with its tables, and the pinned schema, one validator a thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from lxml import etree

from adapters.safe_xml import has_attributes
from hub.gateway.soap.shapes import Reader, Writer, read, reader_of
from hub.gateway.soap.violations import violations_in
from schemas.base import Value
from schemas.errors import InvalidMessage, Malformed
from schemas.soap import FAULT, OPERATIONS, RESPONSE, SERVICE_NAMESPACE, HubFault
from schemas.soap_types import RecordType, service_types
from schemas.transactions import SPECS, Transaction
from schemas.wsdl import hub_xsd
from schemas.wsdl_export import action_of

_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
_TYPE = f"{_INSTANCE}type"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: what its messages hold and which transaction they are."""

    name: str
    transaction: Transaction
    record: RecordType
    _reader: Reader
    _writer: Writer
    _lists: frozenset[str]
    """Lists that the canonical message must have and that may be empty: XML has no element for those."""

    @property
    def action(self) -> str:
        return action_of(self.name)

    def read(self, payload: etree._Element) -> bytes:
        """The canonical JSON of a request. InvalidMessage names each place that breaks the schema, quoting nothing."""
        _check_attributes(payload)
        schema = _schemas.schema
        if not schema.validate(payload):
            violations = violations_in(schema, payload, self.record)
            raise InvalidMessage("the message breaks the schema of the service", *violations)
        return orjson.dumps({**dict.fromkeys(self._lists, ()), **read(payload, self._reader)})

    def write(self, answer: bytes) -> str:
        """The response element of a canonical answer."""
        name = f"{self.name}{RESPONSE}"
        return f'<{name} xmlns="{SERVICE_NAMESPACE}">{self._writer.write(orjson.loads(answer))}</{name}>'


class _Schemas(threading.local):
    """A validator keeps its errors on itself, so each thread has its own."""

    def __init__(self) -> None:
        self.schema = etree.XMLSchema(etree.parse(str(hub_xsd())))


_schemas = _Schemas()


@cache
def operations() -> Mapping[str, Operation]:
    """Every operation by the tag of its request element."""
    types = service_types()
    found = {}
    for transaction, name in OPERATIONS.items():
        spec = SPECS[transaction]
        assert spec.answer is not None
        record, answer = types[spec.message.__name__], types[spec.answer.__name__]
        found[f"{{{SERVICE_NAMESPACE}}}{name}"] = Operation(
            name, transaction, record, reader_of(record), Writer(answer), _lists(spec.message, record)
        )
    return found


def _lists(message: type[Value], record: RecordType) -> frozenset[str]:
    may_be_empty = {element.name for element in record.elements if element.repeats and element.least == 0}
    return frozenset(name for name in may_be_empty if message.model_fields[name].is_required())


@cache
def _fault_writer() -> Writer:
    return Writer(service_types()[FAULT])


def write_fault(fault: HubFault) -> str:
    """The typed detail of a fault."""
    values: dict[str, Any] = fault.model_dump(mode="json")
    return f'<{FAULT} xmlns="{SERVICE_NAMESPACE}">{_fault_writer().write(values)}</{FAULT}>'


def _check_attributes(payload: etree._Element) -> None:
    """The schema knows no attribute but passes those of XML Schema itself: hints where to load schemas from, nil."""
    if has_attributes(payload) and any(name != _TYPE for node in payload.iter() for name in node.attrib):
        raise Malformed("the message carries attributes: remove them", code="xml.attribute")
