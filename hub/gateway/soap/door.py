"""Who speaks: a bearer token as on the other routes, or HTTP basic with the party's code and that token."""

from __future__ import annotations

import base64
import binascii

from starlette.requests import Request

from hub.gateway.identity import Doorkeeper, NotIdentified


def party_of(doorkeeper: Doorkeeper, request: Request) -> str:
    """The party's code; NotIdentified when no header proves one."""
    authorization = request.headers.get("authorization")
    if authorization is not None and authorization[:6].lower() == "basic ":
        authorization = _as_bearer(authorization[6:])
    return doorkeeper.party_of(authorization, request.headers.get("x-party"))


def _as_bearer(credentials: str) -> str:
    """A token names its party, so the name beside it must be the same."""
    try:
        name, _, token = base64.b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise NotIdentified("not a name and a password") from None
    if not name or not token.startswith(f"{name}."):
        raise NotIdentified("the token does not belong to the name")
    return f"Bearer {token}"
