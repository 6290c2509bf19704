"""Who speaks over HTTP: a token proves a party, and nothing else does."""

from __future__ import annotations

import pytest

from hub.gateway.identity import Doorkeeper, NotIdentified, OfficeDoor, PartyShutOut, operator_token, token_for
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL

SECRET = "a secret of thirty-two characters"
DOOR = Doorkeeper(SECRET)
TOKEN = token_for(SECRET, HOSPITAL)


@pytest.mark.parametrize(
    "authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}=", f" Bearer {TOKEN} "]
)
def test_a_token_names_its_party(authorization):
    assert DOOR.party_of(authorization, None) == HOSPITAL


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer .",
        f"Basic {TOKEN}",
        f"Bearer {HOSPITAL}",
        f"Bearer {HOSPITAL}.",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {OTHER_HOSPITAL}.{TOKEN.partition('.')[2]}",
        f"Bearer {token_for('another secret', HOSPITAL)}",
        f"Bearer {HOSPITAL}.é\x80",
        "Bearer not a party." + TOKEN.partition(".")[2],
    ],
)
def test_anything_else_names_nobody(authorization):
    with pytest.raises(NotIdentified):
        DOOR.party_of(authorization, HOSPITAL)


def test_without_a_secret_no_token_is_good():
    with pytest.raises(NotIdentified):
        Doorkeeper("").party_of(f"Bearer {token_for('', HOSPITAL)}", None)


def test_a_trusted_header_names_the_party():
    assert Doorkeeper("", trust_header=True).party_of(None, HOSPITAL) == HOSPITAL


@pytest.mark.parametrize("header", [None, "", "a b", "X" * 40])
def test_a_header_that_is_no_party_names_nobody(header):
    with pytest.raises(NotIdentified):
        Doorkeeper("", trust_header=True).party_of(None, header)


def test_a_wrong_token_is_not_outvoted_by_a_trusted_header():
    with pytest.raises(NotIdentified):
        Doorkeeper(SECRET, trust_header=True).party_of("Bearer x.y", HOSPITAL)


OFFICE = OfficeDoor(SECRET)


def test_an_operators_token_names_the_operator():
    assert OFFICE.operator_of(f"Bearer {operator_token(SECRET, 'li')}", None) == "li"


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}",
        f"Bearer {token_for(SECRET, 'li')}",
        f"Bearer {operator_token(SECRET, 'Li')}",
        "Bearer operator:",
    ],
)
def test_nobody_else_is_an_operator(authorization):
    with pytest.raises(NotIdentified):
        OFFICE.operator_of(authorization, "li")


def test_an_operator_is_no_party_even_with_one_secret_for_both():
    with pytest.raises(NotIdentified):
        DOOR.party_of(f"Bearer {operator_token(SECRET, 'li')}", None)


@pytest.mark.parametrize(("trusted", "header"), [(False, "li"), (True, "Li"), (True, HOSPITAL), (True, None)])
def test_an_operators_header_must_be_trusted_and_name_one(trusted, header):
    with pytest.raises(NotIdentified):
        OfficeDoor("", trusted).operator_of(None, header)
    assert OfficeDoor("", trust_header=True).operator_of(None, "li") == "li"


class SomeDoors:
    """OTHER_HOSPITAL is shut out, HOSPITAL has its third token."""

    def generation_of(self, party: str) -> int:
        return 2 if party == HOSPITAL else 0

    def is_shut(self, party: str) -> bool:
        return party == OTHER_HOSPITAL


def test_only_the_newest_token_of_a_party_is_good():
    door = Doorkeeper(SECRET, doors=SomeDoors())

    assert door.party_of(f"Bearer {token_for(SECRET, HOSPITAL, 2)}", None) == HOSPITAL
    for generation in (0, 1, 3):
        with pytest.raises(NotIdentified):
            door.party_of(f"Bearer {token_for(SECRET, HOSPITAL, generation)}", None)


@pytest.mark.parametrize("trusted", [False, True])
def test_who_is_shut_out_is_refused_with_the_right_token_and_with_the_trusted_header(trusted):
    door = Doorkeeper(SECRET, trust_header=trusted, doors=SomeDoors())
    token = None if trusted else f"Bearer {token_for(SECRET, OTHER_HOSPITAL)}"

    with pytest.raises(PartyShutOut):
        door.party_of(token, OTHER_HOSPITAL)
