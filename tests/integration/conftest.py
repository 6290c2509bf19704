"""A running hub and a hospital that speaks HTTP to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.http_client import Client
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.used_again import Shelf


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    """A hub with the basic and the critical-illness payer; a file may have another one."""
    with a_hub(database_url) as running:
        yield running


@pytest.fixture
def hospital(world: TestHub) -> Client:
    """HOSPITAL at the gateway of `world`."""
    return Client(world.hub.gateway.port)


@pytest.fixture(scope="module")
def shared_world(shelf: Shelf) -> Iterator[TestHub]:
    """What `world` is, one for all tests of a file that leave nothing behind: they only read, or are refused."""
    with shelf.database() as url, a_hub(url) as running:
        yield running
