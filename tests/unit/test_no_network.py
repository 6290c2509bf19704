"""The guard around unit tests holds."""

from __future__ import annotations

import asyncio
import socket

import psycopg2
import pytest

from tests.unit.conftest import NetworkInUnitTest


def test_a_unit_test_cannot_connect() -> None:
    with pytest.raises(NetworkInUnitTest), socket.socket() as client:
        client.connect(("127.0.0.1", 9))


def test_a_unit_test_cannot_listen() -> None:
    with pytest.raises(NetworkInUnitTest), socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def test_a_unit_test_cannot_resolve_a_name() -> None:
    with pytest.raises(NetworkInUnitTest):
        socket.getaddrinfo("localhost", 80)


def test_a_unit_test_cannot_reach_a_database() -> None:
    with pytest.raises(NetworkInUnitTest):
        psycopg2.connect("postgresql://127.0.0.1/any")


def test_a_unit_test_may_run_an_event_loop() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert asyncio.run(answer()) == 42
