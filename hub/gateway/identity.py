"""Who speaks over HTTP: a token derived from the party's code, or a trusted header in the sandbox."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from hub.people.operators import is_operator
from schemas.errors import Forbidden
from schemas.identity import PARTY_PATTERN

_PARTY = re.compile(PARTY_PATTERN, re.ASCII)
_SCHEME = "bearer"
_OPERATOR = "operator:"


class NotIdentified(Forbidden):
    """Nobody we know speaks (HTTP 401)."""

    code = "party.unauthenticated"


def token_for(secret: str, party: str) -> str:
    """The token with which `party` identifies itself: `<party>.<mac>`."""
    mac = hmac.digest(secret.encode(), party.encode(), "sha256")
    return f"{party}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Tells from two headers who speaks. An empty `secret` lets no token in."""

    secret: str
    trust_header: bool = False
    """Believe X-Party where no token is given."""

    def party_of(self, authorization: str | None, x_party: str | None) -> str:
        """The party's code; NotIdentified when no header proves one."""
        if authorization is not None:
            return self._by_token(authorization)
        if self.trust_header and x_party is not None and _PARTY.fullmatch(x_party):
            return x_party
        raise NotIdentified("no token")

    def _by_token(self, authorization: str) -> str:
        return _proven(self.secret, authorization, lambda party: _PARTY.fullmatch(party) is not None)


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


def _names_operator(speaker: str) -> bool:
    return speaker.startswith(_OPERATOR) and is_operator(speaker.removeprefix(_OPERATOR))


def _proven(secret: str, authorization: str, may_speak: Callable[[str], bool]) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    speaker, _, mac = token.strip().partition(".")
    if scheme.lower() != _SCHEME or not secret or not may_speak(speaker):
        raise NotIdentified("not a token of ours")
    # Compared as bytes: what a stranger sends need not be ASCII.
    if not hmac.compare_digest(token_for(secret, speaker).encode(), f"{speaker}.{mac.rstrip('=')}".encode()):
        raise NotIdentified("the token does not belong to the speaker")
    return speaker
