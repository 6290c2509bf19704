"""The processes of a demo: the sandbox's parties and the hub, started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import urllib3

START_S_MAX = 180.0
STOP_S_MAX = 40.0
_POLL_S = 0.05
PARTY_SECRETS = "party-secrets.yaml"


class DemoFailed(Exception):
    """Something did not start or died; the text names the log that says why."""


class DemoRefused(DemoFailed):
    """What was asked for cannot be done; the text names the option."""


@dataclass(slots=True)
class Stage:
    """The folder of a demo with everything that runs in it."""

    folder: Path
    broker: str = ""
    hub_port: int = 0
    dialects: bool = False
    """With the parties that speak dialects of their own, whose keys are in PARTY_SECRETS."""
    own_settings: Mapping[str, str] = field(default_factory=dict)
    """Of the hub, beside those that every demo has."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def hub_url(self) -> str:
        return f"http://127.0.0.1:{self.hub_port}"

    @property
    def books(self) -> Path:
        return self.folder / "books"

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.folder / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """The hub's settings: nothing of the caller's own HUB_… variables may leak into a demo."""
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        return {
            **theirs,
            "HUB_DATABASE_URL": "embedded:",
            "HUB_BROKER_URL": self.broker or "embedded:",
            "HUB_DATA_DIR": str(self.folder),
            "HUB_HTTP_HOST": "127.0.0.1",
            "HUB_HTTP_PORT": str(self.hub_port),
            "HUB_TRUST_PARTY_HEADER": "true",
            "HUB_PERSON_KEY_SECRET": self._secret(),
            "HUB_LOG_FORMAT": "json",
            "HUB_DRAIN_S": "0",  # whoever still has a connection when it ends has nothing more to say
            "HUB_PARTY_SECRETS": str(self.folder / PARTY_SECRETS) if self.dialects else "",
            **self.own_settings,
        }

    def _secret(self) -> str:
        file = self.folder / "person-key-secret"
        if not file.exists():
            file.touch(0o600)
            file.write_text(secrets.token_hex(32), encoding="ascii")
        return file.read_text(encoding="ascii")

    def start(self, name: str, arguments: list[str]) -> None:
        """Start `hub …` with its output in the log; it stops by itself when we are gone, however we went."""
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", *arguments, "--supervised"],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop the others in order
            )

    def check(self) -> None:
        """DemoFailed when a process has ended by itself."""
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                raise DemoFailed(f"{name} ended with exit code {code}; see {self.log(name).name}\n{self._tail(name)}")

    def wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a process is ready; DemoFailed when it dies or takes too long."""
        deadline = time.monotonic() + START_S_MAX
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{name} was not ready within {START_S_MAX:.0f} s; see {self.log(name).name}")
            time.sleep(_POLL_S)

    def stop(self, name: str) -> None:
        """Stop a process kindly, then not."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def stop_all(self) -> None:
        """The last one started stops first."""
        for name in reversed(list(self.processes)):
            self.stop(name)

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line[:300]}" for line in lines[-5:])


@contextlib.contextmanager
def staged(folder: Path, broker: str) -> Iterator[Stage]:
    """A stage in `folder`; whatever was started on it is stopped when the block ends."""
    stage = Stage(folder, broker, free_port())
    try:
        yield stage
    finally:
        stage.stop_all()


def start_sandbox(stage: Stage) -> None:
    """The parties with their books in the folder; they take a moment to listen."""
    ports_file = stage.folder / "ports.json"
    ports_file.unlink(missing_ok=True)
    where = ["--broker", stage.broker] if stage.broker else ["--hub", stage.hub_url]
    arguments = ["sandbox", "--data", str(stage.books), "--no-fixed-ports", "--ports-file", str(ports_file), *where]
    stage.start("sandbox", [*arguments, "--dialects"] if stage.dialects else arguments)


def sandbox_addresses(stage: Stage) -> Mapping[str, Any]:
    """Once the parties listen: `endpoints` and `control` addresses by code."""
    ports_file = stage.folder / "ports.json"
    stage.wait("sandbox", ports_file.exists)
    told: Mapping[str, Any] = orjson.loads(ports_file.read_bytes())
    return told


def start_hub(stage: Stage) -> None:
    """All roles; ready when the gateway says so."""
    stage.start("hub", ["run"])
    stage.wait("hub", lambda: _is_ready(f"{stage.hub_url}/readyz"))


def _is_ready(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
