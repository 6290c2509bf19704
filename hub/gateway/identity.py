"""Who speaks over HTTP: a token derived from the party's code, or a trusted header in the sandbox."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

from schemas.errors import Forbidden
from schemas.identity import PARTY_PATTERN

_PARTY = re.compile(PARTY_PATTERN, re.ASCII)
_SCHEME = "bearer"


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
        scheme, _, token = authorization.strip().partition(" ")
        party, _, mac = token.strip().partition(".")
        if scheme.lower() != _SCHEME or not self.secret or not _PARTY.fullmatch(party):
            raise NotIdentified("not a token of ours")
        # Compared as bytes: what a stranger sends need not be ASCII.
        if not hmac.compare_digest(token_for(self.secret, party).encode(), f"{party}.{mac.rstrip('=')}".encode()):
            raise NotIdentified("the token does not belong to the party")
        return party
