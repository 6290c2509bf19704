"""Hospitals of a mixed day: each speaks HTTP or SOAP, and writes down what it is told."""

from __future__ import annotations

import time
from typing import Any

import orjson
import urllib3
from lxml import etree

from hub.demo.mixed_day import SOAP
from hub.gateway.soap.shapes import Writer, read, reader_of
from hub.gateway.soap.versions import SOAP_11, SOAP_12, SoapVersion
from sandbox.his import ATTEMPTS_MAX, PAUSE_S, HospitalRequest, HttpHospital, Result
from sandbox.his_book import HospitalBook
from schemas.soap import OPERATIONS, SERVICE_NAMESPACE
from schemas.soap_types import service_types
from schemas.transactions import SPECS, Transaction

PATH = "/soap/settlement"
FETCH_S_MAX = 30.0
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


class SoapHospital:
    """A party that speaks SOAP, the versions in turn."""

    def __init__(self, hub_url: str, concurrency: int) -> None:
        self._url = f"{hub_url.rstrip('/')}{PATH}"
        self._pool = urllib3.PoolManager(maxsize=concurrency, block=True, retries=False, timeout=60.0)
        self._types = service_types()
        self._sent = 0

    def send(self, request: HospitalRequest) -> Result:
        """One request to its end: the canonical content of the answer, or of the fault."""
        begun = time.perf_counter()
        told: dict[str, Any] = {}
        for attempt in range(1, ATTEMPTS_MAX + 1):
            status, told = self._ask(request)
            if status == 200:
                return Result(request, time.perf_counter() - begun, answer=told, attempts=attempt)
            if told.get("blamed") == "sender":
                break
            time.sleep(PAUSE_S)
        return Result(request, time.perf_counter() - begun, error=told)

    def close(self) -> None:
        """Drop the connections."""
        self._pool.clear()

    def _ask(self, request: HospitalRequest) -> tuple[int, dict[str, Any]]:
        self._sent += 1
        version = SOAP_12 if self._sent % 2 else SOAP_11
        transaction = Transaction(request.transaction)
        answer = self._pool.request(
            "POST",
            self._url,
            body=self._envelope(version, transaction, request.body),
            headers={"Content-Type": version.content_type, "X-Party": request.institution},
        )
        root = etree.fromstring(answer.data, _PARSER)
        if answer.status != 200:
            code = root.findtext(f".//{{{SERVICE_NAMESPACE}}}code") or "soap.fault"
            return answer.status, {"code": code, "blamed": "sender" if answer.status < 500 or _is_theirs(root) else ""}
        expected = SPECS[transaction].answer
        assert expected is not None
        (payload,) = root.findall(f"{{{version.namespace}}}Body/*")
        return 200, {"shares": []} | read(payload, reader_of(self._types[expected.__name__]))

    def _envelope(self, version: SoapVersion, transaction: Transaction, body: bytes) -> bytes:
        record = self._types[SPECS[transaction].message.__name__]
        content = Writer(record).write(orjson.loads(body))
        name = OPERATIONS[transaction]
        payload = f'<{name} xmlns="{SERVICE_NAMESPACE}">{content}</{name}>'
        return f'<s:Envelope xmlns:s="{version.namespace}"><s:Body>{payload}</s:Body></s:Envelope>'.encode()


def _is_theirs(root: etree._Element) -> bool:
    """Whether a fault blames the sender, in the words of either version."""
    words = [str(node.text) for node in root.iter("faultcode", "{*}Value")]
    return any(word.endswith(("Client", "Sender")) for word in words)


class Senders:
    """Sends each request the way its hospital speaks; settlements and their undoing go into the hospitals' book."""

    def __init__(self, hub_url: str, book: HospitalBook, concurrency: int) -> None:
        self.http = HttpHospital(hub_url, book, concurrency=concurrency)
        self._soap = SoapHospital(hub_url, concurrency)
        self._book = book
        self._hub_url = hub_url.rstrip("/")

    def say(self, way: str, request: HospitalRequest) -> Result:
        """To its end; anything."""
        return self._soap.send(request) if way == SOAP else self.http.send(request)

    def send(self, way: str, request: HospitalRequest) -> Result:
        """To its end; in the book when it is about a settlement that counts."""
        result = self.say(way, request)
        answer = result.answer or {}
        if "revision" in answer and answer["status"] != "trial":
            self._book.write([answer])
        return result

    def fetch(self, institution: str, within_s: float = FETCH_S_MAX) -> int:
        """Take what waits in an institution's mailbox into its book; how many answers. Waits for the first."""
        mailbox = f"{self._hub_url}/api/v1/mailbox"
        speaks = {"X-Party": institution}
        found = urllib3.request("GET", f"{mailbox}?wait={within_s:.0f}", headers=speaks, timeout=2 * within_s)
        messages = found.json()["messages"]
        self._book.write(one["body"] for one in messages if "revision" in one["body"])
        if messages:
            taken = orjson.dumps({"ids": [one["id"] for one in messages]})
            headers = speaks | {"Content-Type": "application/json"}
            urllib3.request("POST", f"{mailbox}/ack", body=taken, headers=headers)
        return len(messages)

    def close(self) -> None:
        """Drop the connections."""
        self.http.close()
        self._soap.close()
