"""The servers that all other integration tests stand on do what their fixtures promise."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pika
import psutil
import psycopg2
import pytest

from tests.support.eventually import eventually
from tests.support.servers import (
    PostgresServer,
    RabbitServer,
    fresh_database,
    fresh_vhost,
    libpq_url,
    vhost_of,
    with_user,
)


def ask(url: str, question: str) -> object:
    connection = psycopg2.connect(libpq_url(url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def publish_and_get(url: str, queue: str = "q") -> bytes:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"hello", pika.BasicProperties(delivery_mode=2), mandatory=True)
        return eventually(lambda: channel.basic_get(queue, auto_ack=True)[2])


def test_the_database_is_durable(database_url: str) -> None:
    assert [ask(database_url, f"SHOW {name}") for name in ("fsync", "full_page_writes", "synchronous_commit")] == [
        "on",
        "on",
        "on",
    ]


def test_a_fresh_database_is_a_copy_of_its_template(postgres_server: PostgresServer) -> None:
    with fresh_database(postgres_server) as original:
        ask(original, "CREATE TABLE one AS SELECT 1 AS n")
        with fresh_database(postgres_server, original.rpartition("/")[2]) as copy:
            ask(copy, "UPDATE one SET n = 2")

            assert (ask(original, "SELECT n FROM one"), ask(copy, "SELECT n FROM one")) == (1, 2)


def test_what_was_committed_survives_the_end_of_the_database(
    breakable_postgres: PostgresServer, breakable_database_url: str
) -> None:
    ask(breakable_database_url, "CREATE TABLE kept AS SELECT 7 AS n")

    breakable_postgres.kill()
    with pytest.raises(psycopg2.OperationalError):
        ask(breakable_database_url, "SELECT 1")
    breakable_postgres.start()

    assert ask(breakable_database_url, "SELECT n FROM kept") == 7


def test_a_vhost_starts_empty_and_works(rabbitmq_url: str) -> None:
    assert publish_and_get(rabbitmq_url) == b"hello"


def test_what_a_broker_confirmed_survives_its_end(
    breakable_rabbitmq: RabbitServer, breakable_rabbitmq_url: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(breakable_rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"1", pika.BasicProperties(delivery_mode=2), mandatory=True)

    breakable_rabbitmq.kill()
    breakable_rabbitmq.start()

    with pika.BlockingConnection(pika.URLParameters(breakable_rabbitmq_url)) as connection:
        channel = connection.channel()
        assert eventually(lambda: channel.basic_get("kept", auto_ack=True)[2], within_s=60) == b"1"


def test_a_user_may_do_what_it_was_permitted_and_no_more(rabbitmq_server: RabbitServer) -> None:
    with fresh_vhost(rabbitmq_server) as url:
        name = vhost_of(url)
        rabbitmq_server.add_user(name, "a secret")
        rabbitmq_server.set_permissions(name, vhost_of(url), "^$", "", "^mine$")
        with (
            pika.BlockingConnection(pika.URLParameters(with_user(url, name, "a secret"))) as connection,
            pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"),
        ):
            connection.channel().queue_declare("other")
        rabbitmq_server.delete_user(name)


def test_a_killed_run_leaves_nothing_behind() -> None:
    program = (
        "import os, signal\n"
        "from tests.support.postgres_server import LocalPostgres\n"
        "server = LocalPostgres()\n"
        "print(server.pid, server.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    pid, folder = run.stdout.split()
    assert run.returncode == -signal.SIGKILL
    eventually(lambda: not psutil.pid_exists(int(pid)) and not Path(folder).exists(), within_s=60)
