"""A series: one system that does the flow, how it is started, spoken to, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from bench.driver import Conversation
from bench.servers import Servers

PROJECT = Path(__file__).resolve().parents[1]
STOP_PATIENCE_S = 20.0


class Series(ABC):
    """One system under measurement. `start` may be called again after `stop`; every start begins with empty stores."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What does the work, in a few words for the report."""
    saturated_flows: ClassVar[int]
    """Requests of one saturated drive: enough for about ten seconds."""

    @property
    @abstractmethod
    def conversation(self) -> Conversation:
        """How the driver speaks to it."""

    @abstractmethod
    def start(self, servers: Servers, scratch: Path) -> None:
        """Prepare empty stores and start the processes, logging into `scratch`; need not wait until they are ready."""

    @abstractmethod
    def stop(self) -> None:
        """End the processes."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether all processes still run."""

    @abstractmethod
    def roles(self) -> Mapping[str, Sequence[int]]:
        """Root processes of the system itself by role."""

    def parties(self) -> Sequence[int]:
        """Root processes that play the parties; their CPU is reported apart."""
        return ()

    @property
    @abstractmethod
    def broker_url(self) -> str:
        """Its own vhost."""

    @property
    @abstractmethod
    def database_url(self) -> str:
        """Its own database, as libpq wants it."""

    @abstractmethod
    def settled(self) -> int:
        """How many flows its own database calls finished: the witness that replies were not merely sent."""

    def parties_ms(self, first: int, count: int) -> Mapping[str, float]:
        """How long the system waited for parties, by request key, for these requests; empty where there are none."""
        del first, count
        return {}


class StoresCases(ABC):
    """A series whose stores can be filled beforehand."""

    @abstractmethod
    def fill(self, total: int) -> None:
        """Bring the number of stored cases up to `total` with rows as old traffic would have left them."""


@dataclass(slots=True)
class Processes:
    """Child processes of a series, each leading its own session, logging into one file."""

    log: IO[bytes]
    running: dict[str, subprocess.Popen[bytes]]

    @classmethod
    def logging_to(cls, path: Path) -> Processes:
        return cls(path.open("ab"), {})

    def spawn(self, role: str, module_arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `python -m <module_arguments>` in the project's folder."""
        self.running[role] = subprocess.Popen(
            [sys.executable, "-m", *module_arguments],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        return bool(self.running) and all(process.poll() is None for process in self.running.values())

    def roles(self) -> dict[str, list[int]]:
        return {role: [process.pid] for role, process in self.running.items()}

    def stop(self) -> None:
        """Ask every process to end, then end what is left of each session."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            self._await_end(process)
        self.running.clear()
        self.log.close()

    @staticmethod
    def _await_end(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(series: Series, servers: Servers, scratch: Path) -> Iterator[Series]:
    """A started series that is stopped whatever happens."""
    try:
        series.start(servers, scratch)
        yield series
    finally:
        series.stop()
