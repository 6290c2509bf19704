"""The service description is written from the canonical models, and messages are read and written by the same types."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import zeep
from lxml import etree

from hub.gateway.soap.contract import operations, write_fault
from hub.gateway.soap.shapes import Writer, read, reader_of
from schemas import wsdl_export
from schemas.base import Value
from schemas.soap import OPERATIONS, RESPONSE, SERVICE_NAMESPACE, FaultViolation, HubFault
from schemas.soap_types import RecordType, TextType, record_types, service_types
from schemas.transactions import SPECS, SUMMARIES, Channel
from schemas.wsdl import hub_xsd
from tests.support.builders import a_settle_request, as_bytes
from tests.support.soap_messages import payload

SCHEMA = etree.XMLSchema(etree.parse(str(hub_xsd())))


@pytest.mark.parametrize("name", wsdl_export.files())
def test_the_pinned_files_are_what_the_models_say(name):
    """When this fails after a change of a message: `python -m schemas.wsdl_export`."""
    assert (Path(hub_xsd().parent) / name).read_text(encoding="utf-8") == wsdl_export.files()[name]


def test_every_transaction_of_the_soap_channel_has_an_operation_and_no_other_has():
    assert OPERATIONS.keys() == {name for name, spec in SPECS.items() if Channel.SOAP in spec.channels}
    assert OPERATIONS.keys() <= SUMMARIES.keys()
    assert len(set(OPERATIONS.values())) == len(OPERATIONS)


@pytest.mark.parametrize("complete", [True, False])
def test_the_description_can_be_read(tmp_path, complete):
    (tmp_path / "it.wsdl").write_text(wsdl_export.wsdl_text(complete=complete), encoding="utf-8")
    (tmp_path / "settlement_hub.xsd").write_text(wsdl_export.xsd_text(), encoding="utf-8")

    document = zeep.Client(str(tmp_path / "it.wsdl"), transport=zeep.Transport(cache=None)).wsdl

    for binding in document.bindings.values():
        assert set(binding._operations) == set(OPERATIONS.values())


def test_a_canonical_message_is_the_same_in_xml():
    request = a_settle_request()
    (operation,) = (each for each in operations().values() if each.name == "Settle")

    assert orjson.loads(operation.read(etree.fromstring(payload("Settle", request)))) == request


SAMPLES = {
    "[A-Z][A-Z0-9\\-]{1,31}": "BASIC-440300",
    "[A-Z][0-9]{11}": "H44030000001",
    "[0-9]{6}": "440300",
    "[0-9A-Za-z._:\\-]+": "S-1.a_b:c",
    "[0-9A-Za-z._+/\\-]+": "XA01+/-",
    "[0-9A-Za-z()/\\-]+": "R123(4)",
    "\\+?[0-9\\-]{5,20}": "+86-13800000000",
}
"""A text for each pattern of the schema; a new pattern needs one."""


def values_of(record: RecordType, chance: Random) -> dict[str, Any]:
    """Some content of a type: what is optional is there or not, what repeats comes once or twice."""
    values: dict[str, Any] = {}
    for element in record.elements:
        if element.least or chance.random() < 0.6:
            made = [value_of(element.type, chance) for _ in range(chance.randint(1, 2) if element.repeats else 1)]
            values[element.name] = made if element.repeats else made[0]
    return values


def value_of(kind: RecordType | TextType, chance: Random) -> Any:
    if isinstance(kind, RecordType):
        return values_of(kind, chance)
    allowed = [value for facet, value in kind.facets if facet == "enumeration"]
    if allowed:
        return chance.choice(allowed)
    simple = {
        "boolean": chance.random() < 0.5,
        "int": chance.randrange(1000),
        "date": "2026-03-02",
        "dateTime": chance.choice(["2026-03-02T09:15:00+08:00", "2026-03-02T01:15:00.123456Z"]),
        "decimal": chance.choice(["0", "12", "12.3", "99999999.99"]),
        "string": "欧阳·测试 <&> \"'",
    }
    pattern = dict(kind.facets).get("pattern", "")
    return SAMPLES[pattern] if kind.base == "string" and pattern else simple[kind.base]


@pytest.mark.parametrize("operation", operations().values(), ids=lambda operation: operation.name)
def test_whatever_a_message_holds_comes_back_from_xml_as_it_was(operation):
    types, spec = service_types(), SPECS[operation.transaction]
    for seed in range(10):
        for name, model in ((operation.name, spec.message), (operation.name + RESPONSE, spec.answer)):
            record = types[model.__name__]
            values = values_of(record, Random(seed))
            content = Writer(record).write(values)
            element = etree.fromstring(f'<{name} xmlns="{SERVICE_NAMESPACE}">{content}</{name}>')
            SCHEMA.assertValid(element)
            assert read(element, reader_of(record)) == values


def test_an_answer_is_valid_and_leaves_out_what_is_not_there():
    answer = {
        "institution": "H44030000001",
        "found": False,
        "name": "欧阳\u0001&",
        "sex": None,
        "answered_at": "2026-03-02T09:15:00Z",
    }
    (operation,) = (each for each in operations().values() if each.name == "ConfirmIdentity")

    element = etree.fromstring(operation.write(as_bytes(answer)))

    SCHEMA.assertValid(element)
    assert [etree.QName(child).localname for child in element] == ["institution", "found", "name", "answered_at"]
    assert element[2].text == "欧阳\ufffd&"


def test_a_fault_is_typed():
    violation = FaultViolation(field="total", code="money", remedy="<b>", remedy_zh="请")
    fault = HubFault(
        code="message.invalid", message_zh="内容有误", message_en="It is wrong", violations=(violation,) * 2
    )

    SCHEMA.assertValid(etree.fromstring(write_fault(fault)))


def test_a_field_that_no_element_can_hold_stops_the_generator():
    class Open(Value):
        anything: dict[str, str]

    class Either(Value):
        it: str | int

    for model in (Open, Either):
        with pytest.raises(TypeError):
            record_types([model])


def test_the_page_lists_every_operation_with_its_transaction():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "soap.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z].*?) \| (`.*?) \|$", page, re.MULTILINE)
    listed = [pair for row in rows for pair in zip(*(re.findall("`(.*?)`", cell) for cell in row), strict=True)]

    assert dict(listed) == {name: transaction.value for transaction, name in OPERATIONS.items()}
