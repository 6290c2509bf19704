"""The sandbox as a process: found by its ports file, killed in the middle of its work, stopped in peace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from sandbox import parties
from sandbox.book import Book
from tests.support.eventually import eventually
from tests.support.sandbox_builders import a_task


class Process:
    """`python -m sandbox.server` with its books in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = folder / "ports.json"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it; ANKANG's address."""
        self._ports.unlink(missing_ok=True)
        command = [sys.executable, "-m", "sandbox.server", "--data", str(self.folder / "books")]
        self._process = subprocess.Popen(
            [*command, "--ports-file", str(self._ports)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._ports.exists, within_s=60)
        return str(json.loads(self._ports.read_text())["endpoints"][parties.ANKANG])

    def end(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=60)

    def make_sure_it_ended(self) -> None:
        """Kill what a test left running."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)

    def book(self) -> Book:
        """ANKANG's book as it lies on disk."""
        return Book(self.folder / "books" / f"{parties.ANKANG}.sqlite3")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    running.make_sure_it_ended()


TEMPLATE = a_task("R-TEMPLATE").model_dump_json()


def a_task_bytes(name: str) -> bytes:
    return TEMPLATE.replace("R-TEMPLATE", name).encode()


def test_what_was_answered_before_a_kill_is_in_the_book(process: Process) -> None:
    url = process.start()
    pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=30.0)
    answered: set[str] = set()
    asked: set[str] = set()

    def claims(worker: int) -> None:
        for number in range(10_000):
            name = f"R-{worker}-{number}"
            asked.add(name)
            try:
                if pool.request("POST", f"{url}/claims", body=a_task_bytes(name)).status == 200:
                    answered.add(name)
            except urllib3.exceptions.HTTPError:
                return

    workers = [threading.Thread(target=claims, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    eventually(lambda: len(answered) > 200, within_s=30)
    process.end(signal.SIGKILL)
    for worker in workers:
        worker.join()

    book = process.book()
    booked = {entry.request_id for entry in book.entries()}
    book.close()
    assert answered <= booked <= asked


def test_it_stops_in_peace(process: Process) -> None:
    process.start()

    assert process.end(signal.SIGTERM) == 0
