"""The insurer's side of the hub's HTTP mailbox, for places without RabbitMQ."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import urllib3

from sandbox.claims_department import ANSWER, ClaimsDepartment, Told

WAIT_S = 5
BACKOFF_S = 0.5
FETCH_MAX = 100
POSTS_AT_ONCE = 8

log = logging.getLogger("sandbox")


class MailboxWorker:
    """Fetches tasks on one thread, posts answers several at once; acknowledges what the hub has taken."""

    def __init__(self, hub_url: str, code: str, department: ClaimsDepartment, token: str = "") -> None:
        self._headers = {"X-Party": code, "Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._hub = hub_url.rstrip("/")
        self._code = code
        self._department = department
        timeout = urllib3.Timeout(connect=2.0, read=WAIT_S + 10)
        self._pool = urllib3.PoolManager(maxsize=POSTS_AT_ONCE + 1, retries=False, timeout=timeout)
        self._posts = ThreadPoolExecutor(POSTS_AT_ONCE, thread_name_prefix=f"mailbox-{code}")
        self._stopping = threading.Event()
        self._working = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"mailbox-{code}", daemon=True)

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand and fetch no more; a fetch that still waits is left to end by itself."""
        self._stopping.set()
        with self._working:
            self._posts.shutdown()
        self._pool.clear()

    def tell(self, told: Told) -> None:
        """Send one answer; urllib3.exceptions.HTTPError or Refused when the hub does not take it."""
        for _ in range(told.times):
            answer = self._pool.request(
                "POST",
                f"{self._hub}/api/v1/transactions/{ANSWER}",
                body=told.body,
                headers=self._headers | {"Idempotency-Key": told.request_id},
            )
            if answer.status >= 500 or answer.status in (401, 403, 429):
                raise Refused(answer.status)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except (urllib3.exceptions.HTTPError, ValueError, Refused) as error:
                log.info("mailbox of %s: %s", self._code, error if isinstance(error, Refused) else type(error).__name__)
                self._stopping.wait(BACKOFF_S)

    def _round(self) -> None:
        begun = time.monotonic()
        messages = self._fetch()
        if not messages:
            # A hub that does not wait must not be asked without a pause.
            self._stopping.wait(max(0.0, BACKOFF_S - (time.monotonic() - begun)))
            return
        with self._working:
            if not self._stopping.is_set():
                self._work(messages)

    def _work(self, messages: Sequence[dict[str, Any]]) -> None:
        answers = self._department.work([orjson.dumps(message["body"]) for message in messages])
        taken = list(self._posts.map(self._answer, answers))
        self._ack([message["id"] for message, done in zip(messages, taken, strict=True) if done])

    def _answer(self, told: Told | None) -> bool:
        """Whether the task is done with; when not, it stays in the mailbox and comes again."""
        if told is None or told.body is None:
            return True
        if told.delay_s:
            threading.Timer(told.delay_s, self._tell_quietly, [told]).start()
            return True
        return self._tell_quietly(told)

    def _tell_quietly(self, told: Told) -> bool:
        try:
            self.tell(told)
        except (urllib3.exceptions.HTTPError, Refused) as error:
            log.info("an answer of %s was not delivered: %s", self._code, type(error).__name__)
            return False
        return True

    def _fetch(self) -> list[dict[str, Any]]:
        fields = {"party": self._code, "wait": str(WAIT_S), "limit": str(FETCH_MAX)}
        answer = self._pool.request("GET", f"{self._hub}/api/v1/mailbox", fields=fields, headers=self._headers)
        if answer.status != 200:
            raise Refused(answer.status)
        found: list[dict[str, Any]] = orjson.loads(answer.data)["messages"]
        return found

    def _ack(self, ids: Sequence[object]) -> None:
        if not ids:
            return
        body = orjson.dumps({"party": self._code, "ids": list(ids)})
        answer = self._pool.request("POST", f"{self._hub}/api/v1/mailbox/ack", body=body, headers=self._headers)
        if answer.status >= 300:
            raise Refused(answer.status)


class Refused(Exception):
    """The hub answered, but not as hoped; holds the HTTP status."""
