"""The hub's command as a process of its own, with settings of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests.support.eventually import eventually

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 180.0


def bare_environment(**settings: str) -> dict[str, str]:
    """Ours without any HUB_ variable, and these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    return {**ours, "COLUMNS": "160", **settings}


def hub(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`hub …` to its end, in `folder`."""
    command = [sys.executable, "-m", "hub.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=bare_environment(**settings), capture_output=True, text=True, check=False
    )


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can pass: as root a private database runs as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="hub-test-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class RunningHub:
    """A `hub` command that goes on until it is stopped."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What it has logged so far, all of it or the events of one name."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        found = [orjson.loads(line) for line in lines if line.startswith(b"{")]
        return [event for event in found if not name or event.get("event") == name]

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        """The last event of this name, once there are `count`."""

        def arrived() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the hub ended with {self.process.returncode}:\n{self.log.read_text()}")
            return len(self.events(name)) >= count

        eventually(arrived, READY_WITHIN_S)
        return self.events(name)[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_WITHIN_S)

    def family(self) -> list[psutil.Process]:
        """Itself and what it has started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


@contextlib.contextmanager
def running(folder: Path, *arguments: str, settings: Mapping[str, str]) -> Iterator[RunningHub]:
    """`hub …` in `folder` for the length of the block; it and its children are gone afterwards."""
    log = folder / "hub.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", *arguments],
            cwd=folder,
            env=bare_environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    hub_process = RunningHub(process, log)
    try:
        yield hub_process
    finally:
        members = hub_process.family() if process.poll() is None else []
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                hub_process.stop()
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
