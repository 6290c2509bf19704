"""Link kinds: by which way an institution's or a party's messages come in, as data of the rule book."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from schemas.base import Identifier, Value

if TYPE_CHECKING:
    from routing.rulebook import Party, Rule

InstitutionLink = Literal["realtime", "staging", "files"]
PartyLink = Literal["realtime", "via_his", "staging", "files"]


class StagingTable(Value):
    """How a staging database is polled. Where it is and who may enter it is a secret of the party, never here."""

    url_name: Identifier = "staging_url"
    """The name of the address among the party's secrets."""
    poll_s: Annotated[float, Field(ge=0.05, le=300)] = 1.0
    batch: Annotated[int, Field(ge=1, le=200)] = 100
    """Rows taken at a time."""
    waiting_s: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    """A row that waits for longer is an incident."""


def staging_problem(link: str, staging: StagingTable | None) -> str:
    """What does not fit between the kind of link and its details; empty when all does."""
    if link == "staging" and staging is None:
        return "staging: say how the table is polled, {} is enough"
    if link != "staging" and staging is not None:
        return "staging: needs link: staging"
    return ""


def party_problem(party: Party) -> str:
    """What does not fit in a party's link; empty when all does."""
    if party.link in ("via_his", "staging") and party.kind != "basic":
        return f"link: {party.link} is for basic systems; an insurer is told by its adapter, or brings files"
    if party.link == "via_his" and party.notices:
        return "notices: a system that is met through the hospital cannot be told anything"
    if party.link == "via_his" and party.amqp:
        return "amqp: a system that is met through the hospital sends nothing itself"
    return staging_problem(party.link, party.staging)


def rule_problems(parties: dict[str, Party], rules: Sequence[Rule]) -> Iterator[tuple[int, str]]:
    """The rules, by index, that have the hub ask a system which is met through the hospital only."""
    for index, rule in enumerate(rules):
        named = (parties[payer.party] for payer in rule.payers if payer.party in parties)
        if rule.adjudicated_by != "basic" and any(party.link == "via_his" for party in named):
            yield index, "its payer is met through the hospital (via_his), so nobody can ask it: adjudicated_by: basic"
