"""A plain HTTP client of the gateway, as a hospital or an insurer would write one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

from hub.gateway.identity import token_for
from tests.support.builders import HOSPITAL, a_settle_request
from tests.support.hub_in_process import TOKEN_SECRET

Message = Mapping[str, Any] | bytes | Iterator[bytes]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One party speaking to the gateway at `port`."""

    port: int
    party: str = HOSPITAL
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=64, retries=False, timeout=30.0)
    )

    @property
    def authorization(self) -> str:
        return f"Bearer {token_for(TOKEN_SECRET, self.party)}"

    def request(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Reply:
        """Any request with the party's token; header names with _ for -; an empty value leaves a header out."""
        given = {"Authorization": self.authorization}
        if body is not None:
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value}
        answer = self.pool.request(method, f"http://127.0.0.1:{self.port}{path}", body=body, headers=sent)
        return Reply(answer.status, dict(answer.headers.items()), answer.data)

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, **headers)

    def post(self, transaction: str, message: Message, key: str = "K-1", **headers: str) -> Reply:
        """One canonical transaction."""
        body = json.dumps(message, ensure_ascii=False).encode() if isinstance(message, Mapping) else message
        return self.request("POST", f"/api/v1/transactions/{transaction}", body, **{"Idempotency_Key": key, **headers})

    def settle(self, settlement_no: str = "S-1", key: str = "", **headers: str) -> Reply:
        return self.post("settlement.settle", a_settle_request(30_000, settlement_no), key or settlement_no, **headers)

    def cancel(self, settlement_no: str = "S-1", cancel_no: str = "C-1", **headers: str) -> Reply:
        message = {"institution": HOSPITAL, "settlement_no": settlement_no, "cancel_no": cancel_no, "reason": "错"}
        return self.post("settlement.cancel", message, cancel_no, **headers)
