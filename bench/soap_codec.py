"""What SOAP costs over canonical JSON: `python -m bench.soap_codec` prints a table, in a minute, on this machine.

Codec: CPU of one thread, best of several rounds. Server: the gateway's own application in one process with an answer at
hand in the desk's place, so that the figures of the two channels differ by nothing but the channel.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import orjson
import psutil
import urllib3
import uvicorn
from starlette.routing import Route

from bench.payload import INSTITUTION, settle_request
from hub.gateway.app import GatewayApp
from hub.gateway.courier import Brought
from hub.gateway.identity import Doorkeeper, token_for
from hub.gateway.soap.contract import operations
from hub.gateway.soap.door import SoapDoor
from hub.gateway.soap.envelope import open_envelope, wrap
from hub.gateway.soap.service import SoapService
from hub.gateway.soap.versions import SOAP_11, SoapRequest
from hub.gateway.transactions import Transactions
from hub.listener import listen
from schemas.answer import CombinedAnswer
from schemas.base import Bilingual, read_message
from schemas.codes import CaseStatus, Layer, ShareState
from schemas.settlement import SettleRequest
from schemas.soap import SERVICE_NAMESPACE
from schemas.soap_types import service_types
from tests.support.soap_messages import envelope, payload

LINES = (8, 50)
ROUNDS = 7
ROUND_S = 0.2
CALLERS = 8
DRIVES = 3
DRIVE_S = 2.0
SECRET = "a secret of the measurement, nothing else"
SAID = SoapRequest(SOAP_11, "utf-8", None)
SETTLE = operations()[f"{{{SERVICE_NAMESPACE}}}Settle"]


def a_request(lines: int) -> dict[str, Any]:
    """A bill with so many fee lines."""
    request: dict[str, Any] = settle_request(1)
    (first, *_) = request["fees"]
    fees = [first | {"line_no": str(number)} for number in range(lines)]
    total_fen = sum(int(each["amount"].replace(".", "")) for each in fees)
    return request | {"fees": fees, "total": f"{total_fen // 100}.{total_fen % 100:02d}"}


def an_answer() -> bytes:
    """A combined answer with three payers."""
    shares = [
        {
            "sequence": number,
            "payer": "P",
            "layer": Layer.BASIC,
            "product": "p",
            "state": ShareState.APPROVED,
            "amount": 1,
        }
        for number in range(3)
    ]
    said = Bilingual(zh="结算成功，请收取个人现金部分。", en="Settled. Collect the cash part.")
    values = {
        "case_id": "01a20035-bcae-7659-b93a-7e3674d6fa1c",
        "institution": INSTITUTION,
        "settlement_no": "S-1",
        "status": CaseStatus.SETTLED,
        "revision": 1,
        "final": True,
        "total": 3,
        "shares": shares,
        "account": 0,
        "hospital_borne": 0,
        "cash": 0,
        "deferred": 0,
        "answered_at": "2026-03-02T09:30:00+08:00",
        "message": said,
    }
    return CombinedAnswer.model_validate(values).model_dump_json().encode()


def cpu_us(call: Callable[[], object]) -> float:
    """Microseconds of CPU of one call, the best of several rounds."""
    call()
    best = float("inf")
    for _ in range(ROUNDS):
        until, begun, calls = time.perf_counter() + ROUND_S, time.thread_time(), 0
        while time.perf_counter() < until:
            call()
            calls += 1
        best = min(best, (time.thread_time() - begun) / calls)
    return best * 1e6


def codec_rows(lines: int) -> list[tuple[str, float]]:
    """Each step's name and CPU; the first is what the others are compared with."""
    request = a_request(lines)
    as_json = orjson.dumps(request)
    as_soap = envelope(payload("Settle", request))
    answer = an_answer()
    print(f"-- {lines} fee lines: {len(as_json)} bytes of JSON, {len(as_soap)} of SOAP")
    return [
        ("canonical JSON, checked into its model", cpu_us(lambda: read_message(SettleRequest, as_json))),
        ("SOAP: envelope opened", cpu_us(lambda: open_envelope(as_soap, SAID))),
        ("SOAP: request to canonical JSON", cpu_us(lambda: SETTLE.read(open_envelope(as_soap, SAID).payload))),
        ("SOAP: answer from canonical JSON", cpu_us(lambda: wrap(SOAP_11, SETTLE.write(answer)))),
    ]


class AnswerAtHand:
    """In the desk's place."""

    def __init__(self) -> None:
        self._brought = Brought(answer=an_answer())

    async def bring(self, *_: Any, **__: Any) -> Brought:
        return self._brought


def serve(ready: Any) -> None:
    """The gateway's application in a process of its own; tells its port."""
    courier, doorkeeper = cast(Any, AnswerAtHand()), Doorkeeper(SECRET)
    nothing = cast(Any, _Nothing())
    door = SoapDoor(doorkeeper, nothing, nothing, nothing)
    app = GatewayApp(
        Transactions(doorkeeper, courier), nothing, nothing, nothing, nothing, SoapService(door, courier).routes()
    )
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, interface="asgi3", ws="none", lifespan="off", log_level="error", access_log=False)
    ready.send(listener.getsockname()[1])
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


class _Nothing:
    """Endpoints that nobody calls here."""

    def routes(self) -> list[Route]:
        return []

    def __getattr__(self, name: str) -> Any:
        async def endpoint(_request: Any) -> Any:
            raise LookupError(name)

        return endpoint


def answered(port: int, path: str, body: bytes, headers: dict[str, str]) -> int:
    """How many requests are answered in a drive, with callers enough to keep the server busy."""
    pool = urllib3.PoolManager(maxsize=CALLERS, retries=False, timeout=10.0)
    sent = headers | {"Authorization": f"Bearer {token_for(SECRET, INSTITUTION)}"}
    until = time.monotonic() + DRIVE_S

    def call_on() -> int:
        count = 0
        while time.monotonic() < until:
            reply = pool.request("POST", f"http://127.0.0.1:{port}{path}", body=body, headers=sent)
            assert reply.status == 200, reply.data
            count += 1
        return count

    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(call_on) for _ in range(CALLERS)]
        return sum(each.result() for each in running)


def server_rows(lines: int) -> list[tuple[str, float, float]]:
    """By channel: requests per second and the server's CPU for one, in ms; the channels in turn, the best of each."""
    request = a_request(lines)
    soap = {"Content-Type": SOAP_11.content_type, "SOAPAction": f'"{SETTLE.action}"'}
    json = {"Content-Type": "application/json", "Idempotency-Key": "K-1"}
    channels = {
        "JSON": ("/api/v1/transactions/settlement.settle", orjson.dumps(request), json),
        "SOAP": ("/soap/settlement", envelope(payload("Settle", request)), soap),
    }
    best = dict.fromkeys(channels, (0.0, float("inf")))
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        port = here.recv()
        for _ in range(DRIVES):
            for name, (path, body, headers) in channels.items():
                before = cpu_s(process.pid)
                count = answered(port, path, body, headers)
                cpu_ms = (cpu_s(process.pid) - before) / count * 1e3
                best[name] = (max(best[name][0], count / DRIVE_S), min(best[name][1], cpu_ms))
    finally:
        process.terminate()
        process.join()
    return [(name, rate, cpu_ms) for name, (rate, cpu_ms) in best.items()]


def cpu_s(pid: int | None) -> float:
    """CPU that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Measure and print."""
    service_types()
    for lines in LINES:
        rows = codec_rows(lines)
        for name, cpu in rows:
            print(f"{name:42s} {cpu:9.1f} us  {cpu / rows[0][1]:5.2f} x")
        for name, rate, cpu_ms in server_rows(lines):
            print(f"gateway without a desk, {name:18s} {rate:9.0f} requests/s, {cpu_ms:.2f} ms of CPU each")


if __name__ == "__main__":
    main()
