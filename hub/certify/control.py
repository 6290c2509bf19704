"""The side door of a sandbox party: it can be made to misbehave, and it shows its book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import urllib3

from schemas.errors import Unavailable

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What the party's book comes to, whole fen."""

    net_fen: int
    account_fen: int


class SideDoor(Protocol):
    """What a run can do to a sandbox party beside speaking to it."""

    def sums(self) -> Sums: ...

    def suffer(self, kind: str, operation: str, **more: Any) -> None: ...

    def heal(self) -> None: ...


class Control:
    """A sandbox party's control address. Unavailable when it does not answer as one."""

    def __init__(self, url: str) -> None:
        self._root = url.rstrip("/")
        self._http = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)

    def sums(self) -> Sums:
        """The sums over the book."""
        totals = self._get("/sandbox/book?limit=0")["totals"]
        return Sums(int(totals["net_fen"]), int(totals["net_account_fen"]))

    def suffer(self, kind: str, operation: str, **more: Any) -> None:
        """One fault, once, at the next request of this operation."""
        self._script([{"kind": kind, "operation": operation, "count": 1, **more}])

    def heal(self) -> None:
        """End all faults."""
        self._script([])

    def close(self) -> None:
        """Close idle connections."""
        self._http.clear()

    def _script(self, faults: list[dict[str, Any]]) -> None:
        self._answered("POST", "/sandbox/faults", orjson.dumps(faults))

    def _get(self, path: str) -> dict[str, Any]:
        return self._answered("GET", path, None)

    def _answered(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._root + path, body=body)
            content = orjson.loads(answer.data) if answer.status == 200 else None
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Unavailable("the control address does not answer", error=type(error).__name__) from error
        if not isinstance(content, dict):
            raise Unavailable("the control address is no sandbox party's", status=answer.status)
        return content


def control_at(url: str, endpoint: str) -> Control | None:
    """The control of a sandbox party: at `url`, or at the root of an endpoint on loopback; None where there is none."""
    if url:
        control = Control(url)
        control.sums()
        return control
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return None
    control = Control(f"{parts.scheme}://{parts.netloc}")
    try:
        control.sums()
    except (Unavailable, KeyError):
        control.close()
        return None
    return control
