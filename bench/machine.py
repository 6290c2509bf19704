"""The machine and the software that a result belongs to."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pika
import psycopg2

PACKAGES = ("pika", "psycopg2-binary", "sqlalchemy", "pydantic", "celery", "kombu", "faststream", "aio-pika", "psycopg")
DATABASE_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "data_checksums",
    "shared_buffers",
)


def describe(database_url: str, broker_url: str, scratch: Path) -> dict[str, object]:
    """Everything a reader needs to judge a figure: hardware, servers with their durability settings, versions."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync_2k_ms": fsync_ms(scratch),
        "postgresql": database_settings(database_url),
        "rabbitmq": broker_version(broker_url),
        "packages": package_versions(),
    }


def cpu_model() -> str:
    """The processor's name as the kernel knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def fsync_ms(folder: Path, writes: int = 50) -> float:
    """Median milliseconds to append 2 KB to a file and force it to disk: the price of one commit."""
    path = folder / "fsync.probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(writes):
            begin = time.perf_counter()
            file.write(bytes(2048))
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return round(statistics.median(times), 3)


def database_settings(url: str) -> dict[str, str]:
    """The settings of the server that decide how durable a commit is."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(DATABASE_SETTINGS),))
        found = dict(cursor.fetchall())
    connection.close()
    return {name: found[name] for name in DATABASE_SETTINGS}


def broker_version(url: str) -> str:
    """The version that the broker states when a client connects."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    # pika shows what the server said about itself on the connection underneath only.
    stated = (connection._impl.server_properties or {}).get("version", "unknown")
    connection.close()
    return stated.decode() if isinstance(stated, bytes) else str(stated)


def package_versions() -> dict[str, str]:
    """Versions of the installed packages whose speed matters here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
