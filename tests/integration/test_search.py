"""A case is found by whatever number somebody has in hand; the list says by what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from hub.gateway.national.numbers import short_number
from hub.people.finding import Finder
from hub.routes import new_id
from schemas.national.envelope import msgid_of
from schemas.transactions import Transaction
from store import numbers, search
from store.numbers import Wanted
from store.search import Found, Name
from tests.support.builders import (
    BASIC_RULE,
    COMMERCIAL_RULE,
    CRITICAL_RULE,
    HOSPITAL,
    OTHER_HOSPITAL,
    a_settle_request,
    an_id_card,
)
from tests.support.hub_in_process import PERSON_SECRET, TestHub, a_hub


@pytest.fixture
def hub(database_url):
    with a_hub(database_url, BASIC_RULE, CRITICAL_RULE, COMMERCIAL_RULE, running=False) as made:
        yield made


def find(hub: TestHub, key: str, limit: int = 50) -> list[Found]:
    with hub.database.connect() as connection:
        return Finder(PERSON_SECRET.encode()).find(connection, key, limit)


def by(hub: TestHub, key: str) -> dict[str, tuple[Name, ...]]:
    return {one.case_id: one.by for one in find(hub, key)}


def settled(hub: TestHub, number: str = "S-1", **changes) -> str:
    case_id = hub.send(Transaction.SETTLE, a_settle_request(30_000, number), **changes).case_id
    hub.pump()
    return case_id


def test_a_case_is_found_by_every_number_of_the_hospital(hub):
    hub.cover(policy_no="POL-7")
    case_id = settled(hub, message_id="MSG-1", correlation_id="CORR-1")
    settled(hub, "S-2")
    hub.cancel(cancel_no="C-9", message_id="MSG-2")

    assert by(hub, "S-1") == {case_id: (Name.SETTLEMENT,)}
    assert by(hub, f"{HOSPITAL}/S-1") == {case_id: (Name.SETTLEMENT,)}
    assert by(hub, f"{OTHER_HOSPITAL}/S-1") == {}
    assert by(hub, "MSG-1") == by(hub, "CORR-1") == {case_id: (Name.MESSAGE,)}
    assert by(hub, "C-9") == by(hub, "MSG-2") == {case_id: (Name.UNDO,)}
    assert by(hub, " POL-7 ")[case_id] == (Name.POLICY,)


def test_a_case_is_found_by_the_hubs_own_numbers(hub):
    case_id = settled(hub)
    leg = hub.case(case_id).legs[1]

    for key in (
        case_id,
        case_id.replace("-", ""),
        case_id.upper(),
        leg.request_id,
        leg.cancel_id,
        f"{leg.request_id}-q3",
        short_number(case_id),
    ):
        assert by(hub, key) == {case_id: (Name.CASE,)}
    assert by(hub, new_id()) == {}


def test_a_case_is_found_by_what_its_payers_call_their_parts(hub):
    case_id = settled(hub)
    reference = hub.case(case_id).legs[1].payer_reference

    assert by(hub, reference) == {case_id: (Name.REFERENCE,)}
    with hub.database.begin() as connection:
        leg = hub.case(case_id).legs[0]
        leg.call_it("SETL-1/MDTRT-1")
        search.add(connection, search.references(leg))
    for key in ("SETL-1", "MDTRT-1", "SETL-1/MDTRT-1"):
        assert by(hub, key) == {case_id: (Name.REFERENCE,)}


def test_the_cases_of_a_person_are_listed_the_newest_first_and_nobodys_number_is_stored(hub):
    cases = [settled(hub, f"S-{number}") for number in range(4)]

    found = find(hub, an_id_card().lower(), limit=3)

    assert [one.case_id for one in found] == cases[:0:-1]
    assert {one.by for one in found} == {(Name.PERSON,)}
    assert (found[0].institution, found[0].state, found[0].total_fen) == (HOSPITAL, "settled", 30_000)
    with hub.database.connect() as connection:
        stored = connection.execute(text("SELECT string_agg(s::text, ' ') FROM search_key s")).scalar_one()
    assert an_id_card() not in stored
    assert by(hub, an_id_card("11010119900307124")) == {}


def test_one_key_may_mean_several_cases_and_one_case_may_go_by_it_twice(hub):
    first = settled(hub, "V-1")
    other = settled(hub, "S-2")

    assert by(hub, "V-1") == {first: (Name.SETTLEMENT, Name.VISIT), other: (Name.VISIT,)}


def test_a_case_is_found_by_the_number_of_a_message_to_a_national_region(hub):
    case_id = settled(hub)
    request = hub.case(case_id).legs[0].request_id
    at = hub.clock.now()
    with hub.database.begin() as connection:
        for number in range(3):
            wanted = [Wanted(f"{new_id().replace('-', '')}-1", "R", "H44030000001"[:12], 9_990)]
            numbers.draw(connection, wanted, at + timedelta(seconds=number))
        drawn = numbers.draw(connection, [Wanted(request, "R", HOSPITAL, 20)], at)[request]

    for place in (0, 7, 19):
        assert by(hub, msgid_of(HOSPITAL, drawn.at, drawn.first + place)) == {case_id: (Name.CASE,)}
    assert by(hub, msgid_of(HOSPITAL, drawn.at, drawn.first + 20)) == {}
    assert by(hub, f"{HOSPITAL}202699991111110001") == {}


def test_a_repeat_adds_no_names(hub):
    message = a_settle_request()
    hub.send(Transaction.SETTLE, message, message_id="M")
    before = hub.count("search_key")
    hub.send(Transaction.SETTLE, message, message_id="N")

    assert hub.count("search_key") == before
