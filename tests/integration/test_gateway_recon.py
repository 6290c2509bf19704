"""Reconciliation over HTTP: compare, look, have it mended, sign, seal; and the report as people open it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from hub.gateway.recon import RECON
from hub.recon.statements import take_statement
from routing.days import day_of
from schemas.statement import Statement
from tests.integration.test_gateway_operators import Operator
from tests.support.builders import BASIC, CRITICAL, HOSPITAL
from tests.support.eventually import eventually
from tests.support.http_client import Client
from tests.support.hub_in_process import TestHub, a_hub

ENDPOINTS = [
    ("GET", "/breaks?day=2026-03-02"),
    ("GET", "/breaks/1"),
    ("GET", "/runs/1"),
    ("GET", "/seals"),
    ("GET", "/2026-03-02"),
    ("GET", "/2026-03-02/report"),
    ("POST", "/runs/1/apply"),
    ("POST", "/runs/1/sign-off"),
    ("POST", "/2026-03-02/run"),
    ("POST", "/2026-03-02/seal"),
]


@dataclass
class World:
    """A hub with one settlement, and two operators."""

    hub: TestHub
    li: Operator
    wang: Operator
    case_id: str
    day: date

    def states(self, amount_fen: int) -> None:
        """The insurer's statement of the day says this of the settlement."""
        leg = self.hub.case(self.case_id).leg(2)
        line = {
            "institution": HOSPITAL,
            "request_id": leg.request_id,
            "reference": leg.payer_reference,
            "amount": amount_fen,
        }
        statement = Statement.model_validate(
            {"party": CRITICAL, "day": self.day, "count": 1, "total": amount_fen, "lines": [line]}
        )
        inside = self.hub.hub
        take_statement(
            inside.work_units, inside.books.active().book, statement, sha256=f"{amount_fen:064x}", form="json",
            source="message", by=CRITICAL, now=self.hub.clock.now(),
        )  # fmt: skip

    def compare(self) -> dict[str, Any]:
        """Make the run of the insurer."""
        reply = self.li.does(f"{RECON}/{self.day}/run", party=CRITICAL)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_hub(database_url) as hub:
        case_id = hub.settle().case_id
        eventually(lambda: hub.case(case_id).business_day is not None and hub.answers(case_id))
        port = hub.hub.gateway.port if hub.hub.gateway else 0
        day = hub.case(case_id).business_day or day_of(hub.clock.now())
        yield World(hub, Operator(port), Operator(port, name="wang"), case_id, day)


def test_a_wrong_fen_is_found_shown_written_off_and_signed(world: World) -> None:
    world.states(7_490)
    run = world.compare()
    assert (run["counts"]["amount"], run["open"]) == (1, 1)

    listed = world.li.get(f"{RECON}/breaks?day={world.day}&state=open&class=amount").json
    (found,) = listed["breaks"]
    assert (listed["total"], found["difference"], found["payer_side"]["settled"]) == (1, "-0.10", "74.90")
    assert world.li.get(f"{RECON}/breaks/{found['break_id']}").json == found
    assert world.li.get(f"{RECON}/breaks?run={run['run_id']}&after={found['break_id']}").json["breaks"] == []
    signed = world.li.does(f"{RECON}/runs/{run['run_id']}/sign-off", reason="all agree")
    assert (signed.status, signed.json["code"]) == (409, "recon.not_ready")

    remedies = [{"break_id": found["break_id"], "remedy": "post_difference", "note": "their letter"}]
    path = f"{RECON}/runs/{run['run_id']}/apply"
    foretold = world.li.does(path, remedies=remedies, reason="ten fen", dry_run=True)
    assert [one["done"] for one in foretold.json["outcomes"]] == [True]
    asked = world.li.does(path, remedies=remedies, reason="ten fen")
    assert asked.status == 202
    assert world.wang.does(f"/api/v1/operators/actions/{asked.json['id']}/approve").status == 200
    after = world.li.get(f"{RECON}/breaks/{found['break_id']}").json
    assert (after["state"], len(after["entry_ids"]), after["approved_by"]) == ("resolved", 1, "wang")

    again = world.compare()
    assert (again["open"], world.li.get(f"{RECON}/runs/{run['run_id']}").json["state"]) == (0, "void")
    asked = world.li.does(f"{RECON}/runs/{again['run_id']}/sign-off", reason="all agree")
    assert asked.status == 202, asked.body
    assert world.wang.does(f"/api/v1/operators/actions/{asked.json['id']}/approve").status == 200
    day = world.li.get(f"{RECON}/{world.day}").json
    (stands,) = day["runs"]
    assert day["late"] == []
    assert list(day["books"]["compared"].values()) == [again["run_id"]]
    assert [one.partition(" ")[0] for one in day["books"]["in_the_way"]] == [f"{BASIC}/daily"]
    assert (stands["state"], stands["signed_by"], stands["approved_by"]) == ("signed_off", "li", "wang")


def test_the_report_is_a_page_a_workbook_and_json(world: World) -> None:
    world.states(7_490)
    world.compare()
    at = world.li.get(f"{RECON}/{world.day}").json["report"]

    page, book, told = (world.li.get(f"{at}?form={form}&breaks=0") for form in ("html", "excel", "json"))

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    text = page.body.decode()
    assert f"hub recon run --day {world.day} --party {BASIC}" in text
    assert f"hub recon breaks --day {world.day} --state open" in text
    assert CalamineWorkbook.from_filelike(io.BytesIO(book.body)).sheet_names[0] == "总览 Summary"
    assert (told.json["clean"], told.json["breaks_total"], told.json["breaks"]) == (False, 1, [])
    sides = next(one for one in told.json["parties"] if one["party"] == CRITICAL)["sides"]
    assert {name: side["settled_fen"] for name, side in sides.items()} == {"hub": 7_500, "payer": 7_490}


def test_what_is_proposed_is_asked_for_in_bulk_unless_people_must_decide(world: World) -> None:
    world.states(7_490)
    run = world.compare()

    asked = world.li.does(f"{RECON}/runs/{run['run_id']}/apply", where={"proposal": "inquire"}, reason="as proposed")

    assert (asked.status, asked.json["code"]) == (409, "break.undecided")


def test_a_day_that_is_not_over_is_not_sealed(world: World) -> None:
    sealed = world.li.does(f"{RECON}/{world.day}/seal", reason="over")

    assert (sealed.status, sealed.json["code"]) == (409, "recon.not_ready")
    assert world.li.get(f"{RECON}/seals").json == {"seals": []}
    tomorrow = world.li.does(f"{RECON}/{world.day + timedelta(days=1)}/run", party=CRITICAL)
    assert (tomorrow.status, tomorrow.json["code"]) == (409, "recon.day_to_come")


WRONG = [
    ("GET", "/2026-13-01", 404),
    ("GET", "/0001-01-01", 404),
    ("GET", "/9999-12-31/report", 404),
    ("GET", "/20260302", 404),
    ("GET", "/2026-03-02/report?form=pdf", 422),
    ("GET", "/2026-03-02/report?breaks=10001", 422),
    ("GET", "/runs/0", 404),
    ("GET", "/runs/99999", 404),
    ("GET", "/runs/x", 404),
    ("GET", "/breaks", 422),
    ("GET", "/breaks?day=now", 422),
    ("GET", "/breaks?run=-1", 422),
    ("GET", "/breaks?day=2026-03-02&class=amuont", 422),
    ("GET", "/breaks?day=2026-03-02&state=opened", 422),
    ("GET", "/breaks/99999", 404),
    ("POST", "/runs/99999/sign-off", 404),
    ("POST", "/2026-03-02/seal", 422),
]
SAYS_NOTHING: list[dict[str, Any]] = [
    {},
    {"reason": "r"},
    {"reason": "r", "where": {}, "remedies": [{"break_id": 1, "remedy": "inquire"}]},
    {"reason": "r", "remedies": [{"break_id": 1, "remedy": "guess"}]},
    {"reason": "r", "remedies": []},
    {"reason": "", "where": {}},
]


def test_what_is_not_there_or_not_right_is_said(world: World) -> None:
    for method, path, status in WRONG:
        body = b'{"reason": "why"}' if "sign-off" in path else b"{}" if method == "POST" else None
        assert world.li.request(method, f"{RECON}{path}", body).status == status, path
    for message in SAYS_NOTHING:
        assert world.li.does(f"{RECON}/runs/1/apply", **message).status == 422, message


def test_no_party_gets_in(world: World) -> None:
    hospital = Client(world.li.port)

    for method, path in ENDPOINTS:
        body = b"{}" if method == "POST" else None
        assert hospital.request(method, f"{RECON}{path}", body).status == 401, path
        assert hospital.request(method, f"{RECON}{path}", body, Authorization="").status == 401, path
