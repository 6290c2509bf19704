"""Doubts, payers and incidents for operators over HTTP: how they stand, and asking for what people may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Connection

from hub.incidents import listing
from hub.people import standing
from hub.people.doubts import subject_of as leg_subject
from hub.people.finding import KEY_MAX, Finder, found_as_dict
from hub.people.office import Office
from hub.people.operators import REASON_MAX
from hub.people.payers import subject_of as payer_subject
from schemas.base import Value
from schemas.errors import NotFound
from store import cases, doubts
from store.actions import Action
from store.payers import EVERYBODY

ALL = "all"
CHOICES = ("ask", "approve", "decline", "reverse", "undone")
SWITCHES = ("stop", "resume")
_CASE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_LEG = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_DOUBTS_READ_MAX = 100_000

Reading = Callable[[], AbstractContextManager[Connection]]


class DecisionAsked(Value):
    """What to do about a leg, and why; `detail` is for `approve`: amount, reference, and basic of a basic system."""

    detail: dict[str, Any] = Field(default_factory=dict)
    reason: str = Field(min_length=1, max_length=REASON_MAX)


class CaseWanted(Value):
    """A number that somebody has in hand: of a case, message, visit, payer's answer, person, ..."""

    q: Annotated[str, Field(min_length=1, max_length=KEY_MAX)]
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Standing:
    """What is open, and the office that may be asked to act on it."""

    def __init__(self, office: Office, read: Reading, payers: Callable[[], list[str]], finder: Finder) -> None:
        self._finder = finder
        self._office = office
        self._read = read
        self._payers = payers

    def doubts(self, payer: str, needs_people: bool, limit: int) -> dict[str, Any]:
        """Open doubts, the oldest first."""
        with self._read() as connection:
            found = doubts.listed(connection, payer=payer, limit=_DOUBTS_READ_MAX)
        wanted = [one for one in found if not (needs_people and one.resolves_itself)]
        return {"doubts": [standing.open_doubt_as_dict(one) for one in wanted[:limit]], "total": len(wanted)}

    def doubt(self, case_id: str, leg_no: str) -> dict[str, Any]:
        """One leg with what was said; NotFound when there is none."""
        with self._read() as connection:
            self._check(connection, case_id, leg_no)
            return standing.doubt_as_dict(standing.read_doubt(connection, case_id, int(leg_no)))

    def decide(self, case_id: str, leg_no: str, choice: str, asked: DecisionAsked, by: str) -> Action:
        """Ask for one of CHOICES."""
        if choice not in CHOICES:
            raise NotFound("there is no such choice", code="doubt.not_found")
        with self._read() as connection:
            self._check(connection, case_id, leg_no)
        subject = leg_subject(case_id, int(leg_no))
        return self._office.actions.request(f"doubt.{choice}", subject, asked.detail, asked.reason, by)

    def payers(self) -> dict[str, Any]:
        """Every payer of the rule book in force."""
        with self._read() as connection:
            found = standing.read_payers(connection, sorted(self._payers()))
        return {"payers": [standing.payer_as_dict(one) for one in found]}

    def turn(self, payer: str, switch: str, reason: str, by: str) -> Action:
        """Stop or resume one payer, or `all`."""
        if switch not in SWITCHES or (payer != ALL and payer not in self._payers()):
            raise NotFound("there is no such payer or switch", code="payer.not_found")
        subject = payer_subject(EVERYBODY if payer == ALL else payer)
        return self._office.actions.request(f"payer.{switch}", subject, {}, reason, by)

    def incidents(self, kind: str, recovered: bool, limit: int) -> dict[str, Any]:
        """Incidents, the newest first, and how many are open of each kind."""
        with self._read() as connection:
            return listing(connection, kind=kind, recovered=recovered, limit=limit)

    def cases(self, key: str, limit: int) -> dict[str, Any]:
        """Cases that go by this key, the newest first."""
        with self._read() as connection:
            return {"cases": [found_as_dict(one) for one in self._finder.find(connection, key, limit)]}

    @staticmethod
    def _check(connection: Connection, case_id: str, leg_no: str) -> None:
        known = cases.read(connection, [case_id]) if _CASE.fullmatch(case_id) and _LEG.fullmatch(leg_no) else {}
        if case_id not in known or int(leg_no) > len(known[case_id].legs):
            raise NotFound("there is no such leg", code="doubt.not_found")
