"""The SOAP service inside the gateway's own application, without a socket and without a desk."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from hub.gateway.app import GatewayApp
from hub.gateway.courier import Brought
from hub.gateway.identity import Doorkeeper, token_for
from hub.gateway.soap.door import SoapDoor
from hub.gateway.soap.service import PATH, SoapService
from hub.gateway.soap.versions import SOAP_11, SoapVersion
from schemas.transactions import Transaction
from store.inbox import Received
from tests.support.builders import HOSPITAL
from tests.support.soap_messages import SoapReply

NOW = datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
SECRET = "another secret of thirty-two characters"


def bearer(party: str = HOSPITAL) -> str:
    """The header of a party that uses its token."""
    return f"Bearer {token_for(SECRET, party)}"


def basic(name: str = HOSPITAL, password: str | None = None) -> str:
    """The header of a party that uses a name and a password, its token unless another is given."""
    chosen = token_for(SECRET, name) if password is None else password
    return "Basic " + base64.b64encode(f"{name}:{chosen}".encode()).decode()


class FakeCourier:
    """Notes what would have gone to the desk; `brought` is what became of it."""

    def __init__(self) -> None:
        self.taken: list[tuple[Transaction, str, str, bytes]] = []
        self.brought = Brought(answer=b'{"status":"settled"}')
        self.error: Exception | None = None

    async def bring(self, transaction: Transaction, party: str, message_id: str, body: bytes, **_: Any) -> Brought:
        self.taken.append((transaction, party, message_id, body))
        if self.error is not None:
            raise self.error
        return self.brought


class SoapApp:
    """The application with this service alone."""

    def __init__(
        self, doorkeeper: Doorkeeper | None = None, signers: frozenset[str] = frozenset(), **settings: Any
    ) -> None:
        self.courier = FakeCourier()
        self.nonces: set[Any] = set()
        this = cast(Any, self)
        door = SoapDoor(doorkeeper or Doorkeeper(SECRET), this, this, cast(Any, _call), signers)
        service = SoapService(door, cast(Any, self.courier), **settings)
        none = cast(Any, SimpleNamespace(routes=list, **dict.fromkeys(_ENDPOINTS, _no_endpoint)))
        self._app = GatewayApp(none, none, none, none, none, service.routes())

    def now(self) -> datetime:
        """The service's clock."""
        return NOW

    @contextmanager
    def begin(self, _name: str) -> Iterator[Any]:
        """A unit of work, whose inbox is this object too."""
        yield SimpleNamespace(store=SimpleNamespace(inbox=self), connection=None)

    def take(self, _connection: None, received: Sequence[Received]) -> set[Received]:
        """The inbox: which of these ids came before."""
        used = {one for one in received if (one.consumer, one.message_id) in self.nonces}
        self.nonces |= {(one.consumer, one.message_id) for one in received}
        return used

    def post(self, raw: bytes, version: SoapVersion = SOAP_11, **headers: str) -> SoapReply:
        """Send bytes with the party's token; names with _ for -, an empty value leaves a header out."""
        return self.request("POST", raw, **{"Content_Type": version.content_type} | headers)

    def get(self, query: str = "wsdl", **headers: str) -> SoapReply:
        return self.request("GET", b"", query, **headers)

    def request(self, method: str, raw: bytes, query: str = "", **headers: str) -> SoapReply:
        given = {"Authorization": bearer(), "Host": "hub.example:8480"} | headers
        named = [
            (name.replace("_", "-").lower().encode(), value.encode("latin-1")) for name, value in given.items() if value
        ]
        scope = {
            "type": "http",
            "method": method,
            "path": PATH,
            "query_string": query.encode(),
            "headers": named,
            "scheme": "http",
            "server": ("127.0.0.1", 8480),
        }
        return asyncio.run(self._exchange(scope, raw))

    async def _exchange(self, scope: dict[str, Any], raw: bytes) -> SoapReply:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return SoapReply(sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:]))


async def _call(work: Any, _within_s: float) -> Any:
    return work()


_ENDPOINTS = ("post", "find", "get", "timeline", "fetch", "acknowledge", "alive", "ready")


async def _no_endpoint(_request: Any) -> Any:
    raise AssertionError("this test is about another service")
