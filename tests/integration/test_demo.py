"""The demo: a day is settled, the books agree, nothing stays behind; a book that was tampered with is found out."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest

from hub.broker.topology import topology
from hub.demo.broker import refuse_a_used_broker
from hub.demo.stage import DemoRefused
from tests.support.command_line import bare_environment, hub, open_folder
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(600)
"""A demo starts a database and three interpreters; on a busy machine each of them takes its time."""

CASES = 24
BEGUN_WITHIN_S = ENDED_WITHIN_S = 240.0
LASTING = ("--cases", "400", "--rate", "4")
"""A day of minutes, so that it is under way whenever somebody ends it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def started_from(folder: Path) -> list[psutil.Process]:
    """Processes that work in or on a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(process)
    return found


def test_the_books_of_a_day_agree_until_one_is_tampered_with(folder: Path) -> None:
    kept = folder / "kept"

    done = hub(folder, "demo", "--cases", str(CASES), "--keep", str(kept))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("books agree")
    assert "The slowest case" in done.stdout
    assert started_from(kept) == []

    again = hub(folder, "demo", "--prove", str(kept), "--json")
    proof = json.loads(again.stdout)["proof"]
    assert again.returncode == 0, again.stderr
    assert (proof["agree"], proof["settlements"]) == (True, CASES)

    tamper(kept / "books" / "BASIC-440300.sqlite3")
    found_out = hub(folder, "demo", "--prove", str(kept))
    assert found_out.returncode == 1
    assert found_out.stdout.rstrip().endswith("books differ")
    assert "difference" in found_out.stdout

    refused = hub(folder, "demo", "--keep", str(kept))
    assert refused.returncode == 2
    assert "holds a demo already" in refused.stderr


def tamper(book: Path) -> None:
    """One fen more in one entry."""
    with sqlite3.connect(book) as connection:
        connection.execute(
            "UPDATE entry SET effect_fen = effect_fen + 1 WHERE seq = (SELECT min(seq) FROM entry WHERE effect_fen > 0)"
        )
    connection.close()


def test_the_same_day_goes_through_rabbitmq(folder: Path, rabbitmq_url: str) -> None:
    done = hub(folder, "demo", "--cases", str(CASES), "--broker", rabbitmq_url, "--json")

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    report = json.loads(done.stdout)
    assert report["proof"]["agree"] is True
    assert report["cases"] == CASES


def test_a_broker_that_is_in_use_is_left_alone(rabbitmq_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.queue_declare("intake", durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    channel.basic_publish("", "intake", b"somebody's")
    connection.close()

    with pytest.raises(DemoRefused, match="intake"):
        refuse_a_used_broker(rabbitmq_url, topology([]))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_an_interrupted_demo_leaves_nothing_behind(folder: Path, number: int) -> None:
    kept = folder / "kept"
    process = subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "demo", *LASTING, "--keep", str(kept)],
        cwd=folder,
        env=bare_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually((kept / "hospitals.sqlite3").exists, within_s=BEGUN_WITHIN_S)

    process.send_signal(number)

    assert process.communicate(timeout=ENDED_WITHIN_S)[1].rstrip().endswith("hub: interrupted; everything is stopped")
    assert process.returncode == 130
    assert [one for one in started_from(kept) if one.is_running()] == []


def test_a_killed_demo_takes_its_processes_with_it(folder: Path) -> None:
    kept = folder / "kept"
    process = subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "demo", *LASTING, "--keep", str(kept)],
        cwd=folder,
        env=bare_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually((kept / "hospitals.sqlite3").exists, within_s=BEGUN_WITHIN_S)

    process.kill()
    process.wait()

    eventually(lambda: started_from(kept) == [], within_s=ENDED_WITHIN_S)
