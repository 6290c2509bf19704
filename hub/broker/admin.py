"""Users and rights on RabbitMQ, over its management API: one user for each party that speaks to the broker."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import orjson
import urllib3

from schemas.errors import Conflict, Unavailable

_TIMEOUT_S = 10.0
_HASHING = "rabbit_password_hashing_sha256"
_CONNECTIONS, _CHANNELS = "max-connections", "max-channels"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user may configure, write and read in a vhost, as RabbitMQ's regular expressions."""

    configure: str = "^$"
    write: str = "^$"
    read: str = "^$"


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """A user as the broker has it. `rights` are those in the parties' vhost; None when he may not enter it."""

    name: str
    tags: tuple[str, ...]
    rights: Rights | None
    elsewhere: tuple[str, ...]
    """Other vhosts that he may enter."""
    limits: Mapping[str, int]


class BrokerAdmin:
    """The management API of a broker, about the users of one vhost.

    Unavailable: it does not answer, or refuses what is asked.
    """

    def __init__(self, url: str, vhost: str) -> None:
        """`url` is http(s)://user:password@host:15672; the user needs the tag administrator."""
        parts = urlsplit(url)
        headers = {"content-type": "application/json"}
        if parts.username:
            given = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers |= urllib3.make_headers(basic_auth=given)
        host = parts.netloc.rpartition("@")[2]
        self._api = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/api"
        self._vhost = vhost
        self._pool = urllib3.PoolManager(headers=headers, retries=False, timeout=_TIMEOUT_S)

    def read(self, name: str) -> BrokerUser | None:
        """The user, or None."""
        found = self._call("GET", f"/users/{_quoted(name)}")
        if found is None:
            return None
        rights = {
            one["vhost"]: Rights(one["configure"], one["write"], one["read"])
            for one in self._call("GET", f"/users/{_quoted(name)}/permissions") or []
        }
        limits = self._call("GET", f"/user-limits/{_quoted(name)}") or []
        tags = found["tags"].split(",") if isinstance(found["tags"], str) else found["tags"]
        return BrokerUser(
            name,
            tuple(tag for tag in tags if tag),
            rights.pop(self._vhost, None),
            tuple(sorted(rights)),
            limits[0]["value"] if limits else {},
        )

    def set_password(self, name: str, password: str) -> None:
        """Create the user, or give him another password; he has no tags. The password itself does not travel.

        Conflict: a user of this name has tags, or may enter other vhosts: he is no party's.
        """
        self._refuse_strangers(name)
        body = {"password_hash": _hash_of(password), "hashing_algorithm": _HASHING, "tags": ""}
        self._call("PUT", f"/users/{_quoted(name)}", body)

    def allow(self, name: str, rights: Rights) -> None:
        """Let the user into the vhost with these rights and no others."""
        self._refuse_strangers(name)
        body = {"configure": rights.configure, "write": rights.write, "read": rights.read}
        self._call("PUT", self._permissions(name), body)

    def shut_out(self, name: str) -> None:
        """Take all rights away; connections that are open stay so until `close_connections`."""
        self._refuse_strangers(name)
        self._call("DELETE", self._permissions(name))

    def limit(self, name: str, connections: int, channels: int) -> None:
        """How many connections and channels the user may have at a time."""
        for limit, value in ((_CONNECTIONS, connections), (_CHANNELS, channels)):
            self._call("PUT", f"/user-limits/{_quoted(name)}/{limit}", {"value": value})

    def close_connections(self, name: str) -> None:
        """Close whatever connection the user has open."""
        self._call("DELETE", f"/connections/username/{_quoted(name)}")

    def _refuse_strangers(self, name: str) -> None:
        known = self.read(name)
        if known is not None and (known.tags or known.elsewhere):
            raise Conflict(f"the broker has a user {name} with tags or in other vhosts: he is no party's")

    def _permissions(self, name: str) -> str:
        return f"/permissions/{_quoted(self._vhost)}/{_quoted(name)}"

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """The answer; None when there is nothing of this name."""
        data = None if body is None else orjson.dumps(body)
        try:
            answer = self._pool.request(method, self._api + path, body=data, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(
                "HUB_BROKER_ADMIN_URL: the management API does not answer", error=type(error).__name__
            ) from error
        if answer.status == 404 and method != "PUT":
            return None
        if answer.status >= 300:
            raise Unavailable(f"HUB_BROKER_ADMIN_URL: the management API refuses {method} {path} ({answer.status})")
        return orjson.loads(answer.data) if answer.data else None


def vhost_of(urls: str) -> str:
    """The vhost of the first of these AMQP addresses; RabbitMQ's default where it names none."""
    return unquote(urlsplit(urls.partition(",")[0].strip()).path[1:]) or "/"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _hash_of(password: str) -> str:
    """As RabbitMQ keeps it: base64 of four random bytes and the SHA-256 of them and the password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
