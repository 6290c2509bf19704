"""The vendored WSDL, read once by zeep and compiled into tables for the hot path."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import zeep
from lxml import etree
from zeep.wsdl import Document

from adapters.xml_shapes import Shape, Writer, names_in, shape_of
from schemas.payer import Operation
from schemas.wsdl import BASIC_BINDING_11, BASIC_BINDING_12, BASIC_NAMESPACE, basic_wsdl, basic_xsd

Version = Literal["1.1", "1.2"]
_BINDINGS: dict[Version, str] = {"1.1": BASIC_BINDING_11, "1.2": BASIC_BINDING_12}
_NAMES = {
    Operation.SETTLE: "Settle",
    Operation.TRIAL: "Trial",
    Operation.CANCEL: "Cancel",
    Operation.REVERSE: "Cancel",
    Operation.INQUIRE: "Inquire",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of the service, compiled."""

    action: str
    element: str
    writer: Writer
    answer_tag: str
    answer_shape: Shape


@dataclass(frozen=True, slots=True)
class Contract:
    """The service in one SOAP version."""

    calls: dict[Operation, Call]
    statement: Call
    actions: dict[str, str]
    """Request element -> soapAction."""
    fault_tag: str
    fault_shape: Shape
    names: frozenset[str]
    """Every element name of the schema: only these may appear in an error."""


@cache
def wsdl() -> Any:
    """zeep's reading of the vendored files; nothing is fetched."""
    settings = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    transport: Any = zeep.Transport
    return Document(str(basic_wsdl()), transport(cache=None), settings=settings)


@cache
def contract(version: Version) -> Contract:
    """The compiled service; one per process and version."""
    operations = wsdl().bindings[_BINDINGS[version]].all()
    fault = wsdl().types.get_element(f"{{{BASIC_NAMESPACE}}}BasicFault")
    calls = {operation: _compiled(operations[name]) for operation, name in _NAMES.items()}
    statement = _compiled(operations["QueryStatement"])
    shapes: list[Shape] = [shape_of(each.input.body.type) or {} for each in operations.values()]
    shapes += [call.answer_shape for call in (*calls.values(), statement)]
    return Contract(
        calls=calls,
        statement=statement,
        actions={call.element: call.action for call in (*calls.values(), statement)},
        fault_tag=fault.qname.text,
        fault_shape=shape_of(fault.type) or {},
        names=frozenset().union(*map(names_in, shapes), names_in(shape_of(fault.type))),
    )


def _compiled(operation: Any) -> Call:
    return Call(
        action=operation.soapaction,
        element=operation.input.body.qname.localname,
        writer=Writer(operation.input.body.type),
        answer_tag=operation.output.body.qname.text,
        answer_shape=shape_of(operation.output.body.type) or {},
    )


class _PerThread(threading.local):
    """One validator per thread: it keeps its errors on itself."""

    def __init__(self) -> None:
        self.schema = etree.XMLSchema(etree.parse(str(basic_xsd())))


@cache
def _per_thread() -> _PerThread:
    return _PerThread()


def schema() -> etree.XMLSchema:
    """This thread's validator of the service's messages."""
    return _per_thread().schema
