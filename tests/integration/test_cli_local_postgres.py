"""The private PostgreSQL: one server per data folder, shared by whoever uses it, gone with the last one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from hub.local_postgres import PostgresUnavailable, local_postgres
from tests.support.command_line import open_folder
from tests.support.eventually import eventually


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def postmaster(data_dir: Path) -> psutil.Process | None:
    """The server's process, if it has one that runs."""
    try:
        pid = int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
    except (OSError, psutil.NoSuchProcess):
        return None
    return process if process.status() != psutil.STATUS_ZOMBIE else None


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchone() if cursor.description else None
    connection.close()
    return found and found[0]


def test_it_keeps_its_data_and_its_promises_over_a_restart(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW listen_addresses") == "127.0.0.1"
    assert postmaster(data_dir) is None

    with local_postgres(data_dir) as url:
        assert ask(url, "SELECT answer FROM kept") == 42


def test_nobody_gets_in_without_the_password(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        stranger = url.replace(url.split(":")[2].split("@")[0], "guessed")
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(stranger)


def test_two_users_share_one_server_and_the_last_one_stops_it(data_dir: Path) -> None:
    with local_postgres(data_dir) as first:
        with local_postgres(data_dir) as second:
            assert first == second
        assert ask(first, "SELECT 1") == 1

    assert postmaster(data_dir) is None


def test_a_killed_user_leaves_the_server_to_the_next(data_dir: Path) -> None:
    code = (
        "import pathlib, sys\nfrom hub.local_postgres import local_postgres\n"
        "with local_postgres(pathlib.Path(sys.argv[1])) as url:\n    print(url, flush=True)\n    sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    left = postmaster(data_dir)
    assert left is not None

    with local_postgres(data_dir) as again:
        assert again == url

    assert postmaster(data_dir) is None


def test_a_killed_server_is_started_again(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS answer")
        server = postmaster(data_dir)
        assert server is not None
        for process in (server, *server.children(recursive=True)):
            process.send_signal(signal.SIGKILL)
        eventually(lambda: postmaster(data_dir) is None, within_s=60)

    with local_postgres(data_dir) as url:
        assert ask(url, "SELECT answer FROM kept") == 7


def test_data_of_another_version_is_not_touched(data_dir: Path) -> None:
    with local_postgres(data_dir):
        pass
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(PostgresUnavailable, match="made by PostgreSQL 9"), local_postgres(data_dir):
        pass
