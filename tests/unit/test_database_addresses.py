"""What a database address becomes: one host, or several of which the one that takes writes is ours."""

from __future__ import annotations

from typing import Any

import pytest

from store.database import alembic_config


def connects_with(url: str) -> dict[str, Any]:
    """What the driver is told."""
    driver_url = alembic_config(url).attributes["url"]
    return dict(driver_url.get_dialect()().create_connect_args(driver_url)[1])


def test_one_host_is_itself() -> None:
    assert connects_with("postgresql://hub:p%40ss@db.example:6432/hub?sslmode=require") == {
        "host": "db.example",
        "port": 6432,
        "user": "hub",
        "password": "p@ss",
        "dbname": "hub",
        "sslmode": "require",
    }


def test_of_several_hosts_the_one_that_takes_writes_is_asked_for() -> None:
    assert connects_with("postgresql://hub:p%40ss@a.example:6432,b.example,[::1]:7432/hub?sslmode=require") == {
        "host": "a.example,b.example,::1",
        "port": "6432,5432,7432",
        "user": "hub",
        "password": "p@ss",
        "dbname": "hub",
        "sslmode": "require",
        "target_session_attrs": "read-write",
    }


@pytest.mark.parametrize("attrs", ["primary", "any"])
def test_whoever_says_what_to_ask_for_gets_it(attrs: str) -> None:
    assert connects_with(f"postgresql://a,b/hub?target_session_attrs={attrs}")["target_session_attrs"] == attrs
