"""Who speaks over HTTP: a token derived from the party's code, or a trusted header in the sandbox."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hub.people.operators import is_operator
from schemas.errors import Forbidden
from schemas.identity import PARTY_PATTERN

_PARTY = re.compile(PARTY_PATTERN, re.ASCII)
_SCHEME = "bearer"
_OPERATOR = "operator:"


class NotIdentified(Forbidden):
    """Nobody we know speaks (HTTP 401)."""

    code = "party.unauthenticated"


class PartyShutOut(Forbidden):
    """The party is known, and operators have shut its door (HTTP 403)."""

    code = "party.shut_out"


def token_for(secret: str, party: str, generation: int = 0) -> str:
    """The token with which `party` identifies itself: `<party>.<mac>`; a new generation makes those before void."""
    said = f"{party}#{generation}" if generation else party
    mac = hmac.digest(secret.encode(), said.encode(), "sha256")
    return f"{party}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


class Doors(Protocol):
    """What operators decided about the parties' doors."""

    def generation_of(self, party: str) -> int:
        """Which generation of its tokens is good."""

    def is_shut(self, party: str) -> bool:
        """Whether the party may not come in at all."""


class OpenDoors:
    """Nobody is shut out, and everybody has his first token."""

    def generation_of(self, _party: str) -> int:
        return 0

    def is_shut(self, _party: str) -> bool:
        return False


OPEN_DOORS = OpenDoors()


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Tells from two headers who speaks. An empty `secret` lets no token in."""

    secret: str
    trust_header: bool = False
    """Believe X-Party where no token is given."""
    doors: Doors = OPEN_DOORS

    def party_of(self, authorization: str | None, x_party: str | None) -> str:
        """The party's code. NotIdentified: no header proves one; PartyShutOut: operators have disabled it."""
        return self._let_in(self._named(authorization, x_party))

    def party_with(self, party: str, knows: Callable[[str], bool]) -> str:
        """The party, when `knows` says that the speaker knows the token that is good for it; errors as `party_of`."""
        if not self.secret or not _names_party(party):
            raise NotIdentified("not a party's code")
        if not knows(token_for(self.secret, party, self.doors.generation_of(party))):
            raise NotIdentified("the speaker does not know the party's token")
        return self._let_in(party)

    def _let_in(self, party: str) -> str:
        if self.doors.is_shut(party):
            raise PartyShutOut("the party is disabled", party=party)
        return party

    def _named(self, authorization: str | None, x_party: str | None) -> str:
        if authorization is not None:
            return _proven(self.secret, authorization, _names_party, self.doors.generation_of)
        if self.trust_header and x_party is not None and _PARTY.fullmatch(x_party):
            return x_party
        raise NotIdentified("no token")


def operator_token(secret: str, name: str) -> str:
    """The token of an operator: `operator:<name>.<mac>`, which no party's token can be and which is no party's."""
    return token_for(secret, _OPERATOR + name)


@dataclass(frozen=True, slots=True)
class OfficeDoor:
    """As `Doorkeeper`, for operators: with a secret and a header of their own."""

    secret: str
    trust_header: bool = False
    """Believe X-Operator where no token is given."""

    def operator_of(self, authorization: str | None, x_operator: str | None) -> str:
        """The operator's name; NotIdentified when no header proves one."""
        if authorization is not None:
            return _proven(self.secret, authorization, _names_operator).removeprefix(_OPERATOR)
        if self.trust_header and x_operator is not None and is_operator(x_operator):
            return x_operator
        raise NotIdentified("no token")


def _names_party(speaker: str) -> bool:
    return _PARTY.fullmatch(speaker) is not None


def _first(_speaker: str) -> int:
    return 0


def _names_operator(speaker: str) -> bool:
    return speaker.startswith(_OPERATOR) and is_operator(speaker.removeprefix(_OPERATOR))


def _proven(
    secret: str, authorization: str, may_speak: Callable[[str], bool], generation_of: Callable[[str], int] = _first
) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    speaker, _, mac = token.strip().partition(".")
    if scheme.lower() != _SCHEME or not secret or not may_speak(speaker):
        raise NotIdentified("not a token of ours")
    # Compared as bytes: what a stranger sends need not be ASCII.
    known = token_for(secret, speaker, generation_of(speaker))
    if not hmac.compare_digest(known.encode(), f"{speaker}.{mac.rstrip('=')}".encode()):
        raise NotIdentified("the token does not belong to the speaker")
    return speaker
