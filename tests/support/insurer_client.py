"""A foreign client of an insurer's REST interface: plain HTTP, none of the hub's own code but the messages."""

from __future__ import annotations

from typing import Any

import urllib3

from sandbox.parties import ANKANG
from sandbox.server import Sandbox
from schemas.payer import ClaimDecision


class Insurer:
    """A foreign REST client of one insurer."""

    def __init__(self, sandbox: Sandbox, http: urllib3.PoolManager, code: str = ANKANG) -> None:
        self.url = sandbox.cast.control_urls()[code]
        self.http = http

    def post(self, path: str, body: bytes) -> Any:
        return self.http.request("POST", self.url + path, body=body, headers={"Content-Type": "application/json"})

    def get(self, path: str) -> Any:
        return self.http.request("GET", self.url + path)

    def claim(self, task: Any) -> ClaimDecision:
        answer = self.post("/claims", task.model_dump_json().encode())
        assert answer.status == 200
        return ClaimDecision.model_validate_json(answer.data)

    def cancel(self, cancel: Any) -> ClaimDecision:
        return ClaimDecision.model_validate_json(self.post("/claims/cancel", cancel.model_dump_json().encode()).data)
