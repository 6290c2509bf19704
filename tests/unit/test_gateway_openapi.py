"""What we publish about our messages is what the program does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hub.gateway import openapi
from hub.gateway.app import GatewayApp
from hub.gateway.operators import Operators
from hub.gateway.recon import ReconEndpoints
from hub.gateway.statements import StatementFiles
from hub.gateway.statements_out import OwnBooks
from schemas import export

DOCUMENT = json.loads(openapi.document())


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    return set()


def resolved(document: Any, reference: str) -> Any:
    node = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def test_the_stored_document_is_current():
    assert openapi.FILE.read_bytes() == openapi.document(), "run: python -m hub.gateway.openapi"


def test_the_stored_schemas_are_current():
    stored = {path.name: path.read_text(encoding="utf-8") for path in Path(export.FOLDER).glob("*.json")}

    assert stored == export.files(), "run: python -m schemas.export"


def test_every_route_is_described_and_nothing_else():
    files = [*StatementFiles(*(Mock() for _ in range(5))).routes(), *OwnBooks(*(Mock() for _ in range(4))).routes()]
    files += ReconEndpoints(Mock(), Mock(), Mock()).routes()
    routes = {
        (route.path, method)
        for route in GatewayApp(Mock(), Mock(), Mock(), Mock(), Operators(*(Mock() for _ in range(5))), files).routes
        for method in route.methods - {"HEAD"}
    }
    names = openapi.Transaction
    routes -= {("/api/v1/transactions/{name}", "POST"), ("/openapi.json", "GET")}
    routes |= {(f"/api/v1/transactions/{name.value}", "POST") for name in names}

    described = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}

    assert described == routes


def test_every_reference_leads_somewhere():
    assert references(DOCUMENT)
    for reference in references(DOCUMENT):
        assert resolved(DOCUMENT, reference)


@pytest.mark.parametrize("name", export.MESSAGES)
def test_every_schema_stands_alone(name):
    schema = export.schema_of(name)

    assert schema["$schema"] == export.DIALECT
    for reference in references(schema):
        assert resolved(schema, reference)


@pytest.mark.parametrize("name", ["settlement.settle", "settlement.cancel", "claim.answer"])
def test_no_message_takes_unknown_fields(name):
    assert export.schema_of(name)["additionalProperties"] is False


def test_every_operation_says_who_may_be_refused():
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            assert "401" in operation["responses"] or operation.get("security") == [], path
