"""The files in deploy/ and the compose file agree with the program and keep their promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from hub.broker.topology import out_queue, queue_on_broker
from routing.rulebook_file import read_rule_book
from sandbox.basic_soap import PATH
from sandbox.parties import BASIC, HENGAN, PARTIES
from sandbox.server import FIXED_PORTS

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
SANDBOX_ENV = (ROOT / "deploy" / "sandbox.env").read_text(encoding="utf-8")
RULES = read_rule_book((ROOT / "deploy" / "sandbox-rules.yaml").read_text(encoding="utf-8"))


def test_the_sandbox_rule_book_names_the_whole_cast() -> None:
    assert set(RULES.party_by_code) == set(PARTIES)


@pytest.mark.parametrize("code", FIXED_PORTS)
def test_the_sandbox_rule_book_calls_each_party_where_it_listens(code: str) -> None:
    party = RULES.party_by_code[code]
    if party.endpoint:
        address = urlsplit(party.endpoint)
        assert (address.hostname, address.port) == ("sandbox", FIXED_PORTS[code])


def test_the_basic_system_is_called_at_its_own_path() -> None:
    assert urlsplit(RULES.party_by_code[BASIC].endpoint).path == PATH


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_this_machine_only(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", ()))


def test_no_secret_has_a_default() -> None:
    secrets = re.findall(r"\$\{(HUB_\w*(?:PASSWORD|SECRET))(.{2})", COMPOSE)

    assert secrets
    assert {operator for _, operator in secrets} == {":?"}


def test_the_sandbox_reads_the_queue_that_its_secret_names() -> None:
    given = dict(line.split("=", 1) for line in SANDBOX_ENV.splitlines() if re.match(r"\w+=", line))

    assert given["HUB_SANDBOX_QUEUE"] == queue_on_broker(out_queue(HENGAN), given["HUB_QUEUE_NAME_SECRET"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_limited(service: str) -> None:
    assert {"mem_limit", "cpus"} <= SERVICES[service].keys()


def test_the_sandbox_environment_gives_what_the_compose_file_asks_for() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    given = re.findall(r"^(\w+)=", SANDBOX_ENV, re.MULTILINE)

    assert asked <= set(given)


def test_the_image_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_a_lock_pins_hashes_and_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert text.count("--hash=sha256:") >= len(re.findall(r"^\S+==", text, re.MULTILINE)) > 0
    assert "://" not in text
    assert not re.search(r"^\s*--(?:index|extra-index|find)", text, re.MULTILINE)
