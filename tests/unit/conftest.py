"""Unit tests reach no network: whoever opens a connection here gets an error, not a slow test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

FORBIDDEN = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"})

_guarding = False


class NetworkInUnitTest(RuntimeError):
    """A unit test tried to reach the network; it belongs into tests/integration."""


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _guarding and event in FORBIDDEN:
        raise NetworkInUnitTest(event)


sys.addaudithook(_refuse)


def _refuse_database(*arguments: object, **options: object) -> None:
    raise NetworkInUnitTest("psycopg2.connect")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """psycopg2 connects in C, where the interpreter's audit does not look."""
    global _guarding
    monkeypatch.setattr("psycopg2.connect", _refuse_database)
    _guarding = True
    yield
    _guarding = False
