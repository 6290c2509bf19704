"""Private server processes: a folder, ports nobody else uses, and an end that cannot be forgotten."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

KEEPER = Path(__file__).with_name("keeper.py")
PORTS_FIRST = 15_000
STOP_PATIENCE_S = 60.0
IN_MEMORY = Path("/dev/shm")
IN_MEMORY_FREE_MIN = 6 << 30


class ServerUnavailable(RuntimeError):
    """A server that the tests need cannot be had; the message says what to do about it."""


def free_port() -> int:
    """A loopback port nobody listens on, below the range the kernel hands out.

    A client that tries to reconnect to a port of the handed-out range while its server is down may be given that very
    port as its own, and connect to itself.
    """
    for _ in range(200):
        port = random.randrange(PORTS_FIRST, _ephemeral_first())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerUnavailable("no free loopback port found")


def _ephemeral_first() -> int:
    with contextlib.suppress(OSError, ValueError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
        if first > PORTS_FIRST + 1000:
            return first
    return 32_768


def readable_by_all(folder: Path) -> bool:
    """Whether another user of this machine may pass through `folder` and all its parents."""
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def fastest_folder() -> Path:
    """Where servers keep their data: in memory where there is plenty of it, else where temporary files are.

    What a process has written outlives its kill either way, and no test takes the power from the machine. Half of what
    the databases of the tests cost were files that come and go.
    """
    if "TMPDIR" not in os.environ and _has_plenty(IN_MEMORY):
        return IN_MEMORY
    return Path(tempfile.gettempdir())


def _has_plenty(folder: Path) -> bool:
    """Whether it is a folder for everybody's files and programs, with room in it and in the memory behind it."""
    with contextlib.suppress(OSError):
        found = os.statvfs(folder)
        may_run = not found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
        free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available, _left_to_container())
        return may_run and os.access(folder, os.W_OK) and free >= IN_MEMORY_FREE_MIN
    return False


def _left_to_container() -> int:
    """Bytes of memory that a container may still take; the machine's own figures do not say it."""
    limits = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        most = (limits / "memory.max").read_text(encoding="ascii").strip()
        return int(most) - int((limits / "memory.current").read_text(encoding="ascii"))
    return sys.maxsize


class ServerHome:
    """A folder and the server processes that live in it; `close` (or our death) ends them and removes it."""

    def __init__(self, name: str, owner: str | None = None) -> None:
        """`owner` is the user the servers run as, when that is another one than ours."""
        base = fastest_folder()
        if owner is not None and not readable_by_all(base):
            base = Path("/tmp")  # TMPDIR may be closed to the server's user; the folder itself is private
        self.folder = Path(tempfile.mkdtemp(prefix=f"hub-{name}-", dir=base))
        self.owner = owner
        if owner is not None:
            shutil.chown(self.folder, owner, owner_group(owner))
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Run a short command as the owner; ServerUnavailable with its output if it fails."""
        done = subprocess.run(
            list(command), cwd=self.folder, env=dict(env), capture_output=True, text=True, check=False, **self._user()
        )
        if done.returncode != 0:
            raise ServerUnavailable(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def spawn(
        self, command: Sequence[str], env: Mapping[str, str], *, log: str, ends_with: int = signal.SIGKILL
    ) -> subprocess.Popen[bytes]:
        """Start a long-living process in its own session, its output appended to the file `log` of the folder."""
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                list(command),
                cwd=self.folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._user(),
            )
        self._tell(f"+{process.pid} {int(ends_with)}")
        return process

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Note that a spawned process has ended and was waited for."""
        self._tell(f"-{process.pid}")

    def tail(self, log: str, lines: int = 25) -> str:
        """The last lines of a log file, for messages."""
        with contextlib.suppress(OSError):
            text = (self.folder / log).read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def close(self) -> None:
        """End what still runs and remove the folder."""
        assert self._keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.close()
        self._keeper.wait()

    def _user(self) -> dict[str, object]:
        if self.owner is None:
            return {}
        return {"user": self.owner, "group": owner_group(self.owner), "extra_groups": []}

    def _tell(self, line: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{line}\n".encode())
        self._keeper.stdin.flush()


class LocalServer(ABC):
    """What every private server can do; a subclass starts it in `_home` as `_process` and says how it stops."""

    is_ours = True
    name: ClassVar[str]
    _home: ServerHome
    _process: subprocess.Popen[bytes] | None = None
    _paused = False

    @property
    def pid(self) -> int:
        """The process id of its first process, which is alive as long as the server is."""
        if self._process is None:
            raise ServerUnavailable(f"this {self.name} is stopped")
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where its data and logs are."""
        return self._home.folder

    def processes(self) -> list[psutil.Process]:
        """The first process and all its descendants, for measuring."""
        return family(self.pid)

    @abstractmethod
    def start(self) -> None:
        """See that it runs, awake, on the same ports and data as before, and greets clients."""

    @abstractmethod
    def stop(self) -> None:
        """A clean shutdown."""

    def restart(self) -> None:
        """A clean stop, then a start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the whole server (SIGSTOP): connections stay open and nothing answers."""
        self._paused = True
        signal_all(self.processes(), signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        signal_all(self.processes(), signal.SIGCONT)
        self._paused = False

    def _wake(self) -> None:
        """The same where nobody knows whether it is paused: to look for its processes takes longer than many a test."""
        if self._paused:
            self.resume()

    def _end(self, number: int, members: Callable[[psutil.Process], bool] = lambda _: True) -> None:
        """Send a signal to those processes that are meant and see all of them out; nothing when it is stopped."""
        if self._process is None:
            return
        everybody = family(self._process.pid)
        signal_all([member for member in everybody if members(member)], number)
        wait_gone(self._process, everybody, self.name)
        self._home.ended(self._process)
        self._process, self._paused = None, False


def owner_group(owner: str) -> int:
    """The primary group of a user."""
    import pwd

    return pwd.getpwnam(owner).pw_gid


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants that are alive, parent first."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def signal_all(processes: Sequence[psutil.Process], number: int) -> None:
    """Send one signal to each; those that are gone do not matter."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wait_gone(process: subprocess.Popen[bytes], members: Sequence[psutil.Process], what: str) -> None:
    """Wait until a process and its family are gone; ServerUnavailable when they do not go."""
    try:
        process.wait(timeout=STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(f"{what} did not stop within {STOP_PATIENCE_S} s") from None
    _, left = psutil.wait_procs(members, timeout=STOP_PATIENCE_S)
    if left:
        raise ServerUnavailable(f"{what} left processes behind: {[p.pid for p in left]}")


def wait_ready(
    process: subprocess.Popen[bytes], is_ready: Callable[[], bool], within_s: float, explain: Callable[[], str]
) -> None:
    """Wait until a server answers; ServerUnavailable with its log when it ends or takes too long."""
    deadline = time.monotonic() + within_s
    while not is_ready():
        if process.poll() is not None:
            raise ServerUnavailable(f"the server ended at once (exit {process.returncode}):\n{explain()}")
        if time.monotonic() >= deadline:
            raise ServerUnavailable(f"the server was not ready within {within_s} s:\n{explain()}")
        time.sleep(0.05)


def bare_environment(**extra: str) -> dict[str, str]:
    """What a server sees of our environment: the path and nothing personal."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **extra}
