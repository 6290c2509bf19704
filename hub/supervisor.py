"""One child process per role: started together, restarted when one dies, replaced one by one, stopped together."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger()

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 15.0
STEADY_AFTER_S = 30.0
"""A child that lived so long has started well: its next restart begins with the shortest pause again."""
READY_S_MAX = 60.0
_POLL_S = 0.1
_READY = b"1"


class Process:
    """A started command that says by a pipe when it is ready to work."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], keep_open: Sequence[int]) -> None:
        """Start it in our process group; it stops by itself when we are gone, since its standard input closes then."""
        self._told, tell = os.pipe()
        os.set_blocking(self._told, False)
        try:
            self._popen = subprocess.Popen(
                [*command, "--ready-to", str(tell)],
                env=dict(environment),
                stdin=subprocess.PIPE,
                pass_fds=[tell, *keep_open],
            )
        except OSError:
            os.close(self._told)
            raise
        finally:
            os.close(tell)
        self.pid = self._popen.pid
        self.started_at = time.monotonic()
        self._ready = False

    def ready(self) -> bool:
        """Whether it has said that it works."""
        if not self._ready:
            with contextlib.suppress(BlockingIOError):
                self._ready = os.read(self._told, 1) == _READY
        return self._ready

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def send(self, number: int) -> None:
        """Send a signal if it runs."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)

    def close(self) -> None:
        """Wait for its end and forget it."""
        self._popen.wait()
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        os.close(self._told)


@dataclass(slots=True)
class Child:
    """A command that is to run all the time."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    keep_open: Sequence[int] = ()
    """File descriptors that it inherits."""
    process: Process | None = None
    due_at: float = 0.0
    """When it is to be started; monotonic seconds."""
    failures: int = 0

    def launch(self) -> Process:
        """One more process of it."""
        return Process(self.command, self.environment, self.keep_open)

    def ended(self, now: float) -> int | None:
        """The exit code of a child that has just ended; None while it runs or waits to be started."""
        if self.process is None or (code := self.process.exit_code()) is None:
            return None
        steady = now - self.process.started_at > STEADY_AFTER_S
        self.process.close()
        self.process = None
        self.failures = 1 if steady else self.failures + 1
        self.due_at = now + pause_s(self.failures, random.random())
        return code


@dataclass(slots=True)
class _Change:
    """A process of a child that takes the place of another: first it gets ready, then the other one leaves."""

    child: Child
    successor: Process
    until: float
    leaving: Process | None = None


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


def tell_ready(descriptor: int) -> None:
    """Tell the supervisor that this process works; whether it still listens does not matter."""
    with contextlib.suppress(OSError):
        os.write(descriptor, _READY)
        os.close(descriptor)


@dataclass(slots=True)
class Supervisor:
    """Runs children until a signal. Create and run it on the main thread.

    `children` in the order of a roll: whoever understands messages before whoever writes them, so that no process
    meets what only its successor knows. The last one is the first to stop: it speaks to the callers.
    """

    children: Sequence[Child]
    stop_timeout_s: float
    ready_timeout_s: float = READY_S_MAX
    _signals: int = 0
    _wake: threading.Event = field(default_factory=threading.Event)
    _roll_asked: bool = False
    _to_roll: deque[Child] = field(default_factory=deque)
    _change: _Change | None = None

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the second signal kills. 0 when all children ended by themselves then, 1 else.

        SIGHUP replaces every process by a new one, one role at a time; on a terminal it means that the terminal has
        gone, which ends everything.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal if sys.stdin.isatty() else self._on_hangup)
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

    def _on_hangup(self, _number: int, _frame: object) -> None:
        self._roll_asked = True

    def _look(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if (code := child.ended(now)) is not None:
                log.error("child_died", child=child.name, exit_code=code, restart_in_s=round(child.due_at - now, 1))
            if child.process is None and now >= child.due_at:
                child.process = child.launch()
                log.info("child_started", child=child.name, pid=child.process.pid, restarts=child.failures)
        self._roll(now)

    def _roll(self, now: float) -> None:
        """Take the next step of a roll, if there is one to take."""
        if self._change is None and self._roll_asked:
            self._roll_asked = False
            self._to_roll = deque(self.children)
            log.info("roll_begins", children=[child.name for child in self.children])
        if self._change is None and self._to_roll:
            child = self._to_roll.popleft()
            self._change = _Change(child, child.launch(), now + self.ready_timeout_s)
            log.info("child_started", child=child.name, pid=self._change.successor.pid, restarts=child.failures)
        change = self._change
        if change is None:
            return
        if change.leaving is not None:
            self._see_off(change, change.leaving, now)
        elif change.successor.ready():
            self._hand_over(change, now)
        elif change.successor.exit_code() is not None or now > change.until:
            self._give_up(change)

    def _hand_over(self, change: _Change, now: float) -> None:
        change.leaving, change.child.process = change.child.process, change.successor
        change.child.failures = 0
        change.until = now + self.stop_timeout_s
        if change.leaving is None:  # it died meanwhile; its successor is here already
            self._rolled(change)
        else:
            change.leaving.send(signal.SIGTERM)

    def _see_off(self, change: _Change, leaving: Process, now: float) -> None:
        if leaving.exit_code() is not None:
            leaving.close()
            self._rolled(change)
        elif now > change.until:
            log.error("killing", children=[change.child.name])
            leaving.send(signal.SIGKILL)

    def _rolled(self, change: _Change) -> None:
        self._change = None
        log.info("child_rolled", child=change.child.name, pid=change.successor.pid)
        if not self._to_roll:
            log.info("roll_done")

    def _give_up(self, change: _Change) -> None:
        """The new one does not start: the old ones go on, which is what callers need most."""
        code = change.successor.exit_code()
        change.successor.send(signal.SIGKILL)
        change.successor.close()
        log.error(
            "roll_failed", child=change.child.name, exit_code=code, remedy="the old processes go on; see the log above"
        )
        self._to_roll.clear()
        self._change = None

    def _running(self) -> list[tuple[str, Process]]:
        found = [(child.name, child.process) for child in self.children if child.process is not None]
        if self._change is not None:
            found.append((self._change.child.name, self._change.leaving or self._change.successor))
        return [(name, process) for name, process in found if process.exit_code() is None]

    def _stop(self) -> bool:
        """Ask all to stop and wait; False when one had to be killed."""
        log.info("stopping", children=[name for name, _ in self._running()])
        last = self.children[-1].name
        # Callers get their answers while the others still work.
        first = self._end(lambda name: name == last)
        if not first or not self._end(lambda _: True):
            return False
        log.info("stopped", pid=os.getpid())
        return True

    def _end(self, meant: Callable[[str], bool]) -> bool:
        for name, process in self._running():
            if meant(name):
                process.send(signal.SIGTERM)
        deadline = time.monotonic() + self.stop_timeout_s
        while left := [name for name, _ in self._running() if meant(name)]:
            if self._signals > 1 or time.monotonic() > deadline:
                log.error("killing", children=left)
                return False
            time.sleep(_POLL_S)
        return True

    def _kill(self) -> None:
        for _, process in self._running():
            process.send(signal.SIGKILL)
        for child in self.children:
            if child.process is not None:
                child.process.close()
