"""The rule book of the sandbox's city as the file that `hub rules activate` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import yaml

from sandbox import basic_soap, parties
from sandbox.day import Place
from sandbox.rules import rule_book
from sandbox.server import FIXED_PORTS, HOST

VALID_FROM = date(2020, 1, 1)
FEW_PLACES = (
    Place(f"H{parties.REGION}00001", "示例医院1", "hospital"),
    Place(f"H{parties.REGION}00002", "示例医院2", "hospital"),
    Place(f"P{parties.REGION}00001", "示例药店1", "pharmacy"),
)


def rule_book_text(endpoints: Mapping[str, str], places: Iterable[Place] = FEW_PLACES, *, amqp: int = 0) -> str:
    """YAML ready to be activated. `endpoints` by party code; the first `amqp` places get an exchange and a queue."""
    book = rule_book(endpoints, places, valid_from=VALID_FROM)
    for institution in book["institutions"][:amqp]:
        institution["amqp"] = True
    return yaml.safe_dump(book, allow_unicode=True, sort_keys=False, width=120)


def fixed_endpoints() -> dict[str, str]:
    """Where the parties are when they take their fixed ports."""
    endpoints = {code: f"http://{HOST}:{port}" for code, port in FIXED_PORTS.items()}
    endpoints[parties.BASIC] += basic_soap.PATH
    return endpoints
