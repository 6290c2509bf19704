"""One child process per role: started together, restarted when one dies, stopped together."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger()

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 15.0
STEADY_AFTER_S = 30.0
"""A child that lived so long has started well: its next restart begins with the shortest pause again."""
_POLL_S = 0.1


@dataclass(slots=True)
class Child:
    """A command that is to run all the time."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    """When it is to be started; monotonic seconds."""
    failures: int = 0

    def start(self, now: float) -> None:
        """Start it in our process group; it stops by itself when we are gone, since its standard input closes then."""
        self.process = subprocess.Popen(self.command, env=dict(self.environment), stdin=subprocess.PIPE)
        self.started_at = now

    def ended(self, now: float) -> int | None:
        """The exit code of a child that has just ended; None while it runs or waits to be started."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self._close()
        self.failures = 1 if now - self.started_at > STEADY_AFTER_S else self.failures + 1
        self.due_at = now + pause_s(self.failures, random.random())
        return code

    def send(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


def pause_s(failures: int, luck: float) -> float:
    """Seconds before the n-th restart in a row: doubling to a maximum, with jitter (`luck` in [0, 1))."""
    longest = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + luck / 2)


def when_parent_is_gone(act: Callable[[], None]) -> None:
    """Call `act` once whoever holds the other end of our standard input has closed it or died, however it died."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()


@dataclass(slots=True)
class Supervisor:
    """Runs children until a signal. Create and run it on the main thread."""

    children: Sequence[Child]
    stop_timeout_s: float
    _signals: int = 0
    _wake: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the second signal kills. 0 when all children ended by themselves then, 1 else."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            while not self._signals:
                self._look()
                self._wake.wait(_POLL_S)
            return 0 if self._stop() else 1
        finally:
            self._kill()

    def stop(self) -> None:
        """Ask for the end; the second time without patience. From any thread."""
        self._signals += 1
        self._wake.set()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.stop()

    def _look(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if (code := child.ended(now)) is not None:
                log.error("child_died", child=child.name, exit_code=code, restart_in_s=round(child.due_at - now, 1))
            if child.process is None and now >= child.due_at:
                child.start(now)
                assert child.process is not None
                log.info("child_started", child=child.name, pid=child.process.pid, restarts=child.failures)

    def _stop(self) -> bool:
        """Ask all to stop and wait; False when one had to be killed."""
        log.info("stopping", children=[child.name for child in self.children if child.running])
        for child in self.children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self.stop_timeout_s
        while any(child.running for child in self.children):
            if self._signals > 1 or time.monotonic() > deadline:
                log.error("killing", children=[child.name for child in self.children if child.running])
                return False
            time.sleep(_POLL_S)
        log.info("stopped", pid=os.getpid())
        return True

    def _kill(self) -> None:
        for child in self.children:
            child.send(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()
