"""A RabbitMQ of our own, or somebody's, for tests and measurements."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import urllib3

from tests.support.processes import (
    LocalServer,
    ServerHome,
    ServerUnavailable,
    bare_environment,
    free_port,
    wait_ready,
)

READY_WITHIN_S = 180.0
START_ATTEMPTS = 3
UNCONNECTED = "failed to connect to node"
CONNECT_AGAIN_AFTER_S = (0.1, 0.3, 1.0, 3.0)
ALL = ".*"

HOW_TO_GET_IT = (
    "RabbitMQ is missing: install it (Debian: apt-get install rabbitmq-server), start a Docker engine, or set "
    "HUB_TEST_BROKER_URL to a broker with its management plugin on"
)


class RabbitServer(Protocol):
    """A running broker. `url` is its vhost `/` as a user with every right."""

    url: str

    @property
    def is_ours(self) -> bool:
        """Whether it was started for us alone and may be stopped and killed."""

    def add_vhost(self, name: str) -> None:
        """Create a vhost and give the user of `url` every right in it."""

    def delete_vhost(self, name: str) -> None: ...
    def add_user(self, name: str, password: str) -> None: ...
    def delete_user(self, name: str) -> None: ...
    def set_permissions(self, user: str, vhost: str, configure: str, write: str, read: str) -> None: ...
    def management_url(self) -> str:
        """Where its management plugin answers, with user and password; it is switched on for that where it is off."""

    def unmanage(self) -> None:
        """Switch the plugin off again, where `management_url` has switched it on."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


def with_vhost(url: str, vhost: str) -> str:
    """The same broker and user in another vhost."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(vhost, safe="")))


def vhost_of(url: str) -> str:
    """The vhost an address names; RabbitMQ's default where it names none."""
    return unquote(urlsplit(url).path[1:]) or "/"


def with_user(url: str, name: str, password: str) -> str:
    """The same broker and vhost as another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(name, safe='')}:{quote(password, safe='')}@{host}"))


class Management:
    """What tests administer, over the HTTP API of the management plugin (0.1 s a call)."""

    def __init__(self, api_url: str, user: str, password: str) -> None:
        self._api_url = api_url.rstrip("/") + "/api"
        self._user = user
        self._management_url = with_user(api_url.rstrip("/"), user, password)
        headers = urllib3.make_headers(basic_auth=f"{user}:{password}")
        self._pool = urllib3.PoolManager(headers={**headers, "content-type": "application/json"}, retries=False)

    def management_url(self) -> str:
        return self._management_url

    def unmanage(self) -> None:
        """Nothing: the plugin was on before."""

    def check(self) -> None:
        """ServerUnavailable when the API does not answer."""
        self._call("GET", "/whoami")

    def is_up(self) -> bool:
        """Whether the API answers."""
        with contextlib.suppress(ServerUnavailable):
            self.check()
            return True
        return False

    def add_vhost(self, name: str) -> None:
        self._call("PUT", f"/vhosts/{quote(name, safe='')}", {})
        self.set_permissions(self._user, name, ALL, ALL, ALL)

    def delete_vhost(self, name: str) -> None:
        self._call("DELETE", f"/vhosts/{quote(name, safe='')}")

    def add_user(self, name: str, password: str) -> None:
        self._call("PUT", f"/users/{quote(name, safe='')}", {"password": password, "tags": ""})

    def delete_user(self, name: str) -> None:
        self._call("DELETE", f"/users/{quote(name, safe='')}")

    def set_permissions(self, user: str, vhost: str, configure: str, write: str, read: str) -> None:
        body = {"configure": configure, "write": write, "read": read}
        self._call("PUT", f"/permissions/{quote(vhost, safe='')}/{quote(user, safe='')}", body)

    def _call(self, method: str, path: str, body: object = None) -> None:
        data = None if body is None else json.dumps(body)
        try:
            answer = self._pool.request(method, self._api_url + path, body=data, timeout=20)
        except urllib3.exceptions.HTTPError as error:
            raise ServerUnavailable(f"the management API of RabbitMQ does not answer: {error}") from error
        if answer.status >= 400:
            raise ServerUnavailable(f"the management API refused {method} {path}: {answer.status} {answer.data!r}")


class GivenRabbit(Management):
    """A broker that somebody else runs, named by HUB_TEST_BROKER_URL; it can be used, not broken."""

    is_ours = False

    def __init__(self, url: str, management_url: str | None = None) -> None:
        """`management_url` (HUB_TEST_BROKER_ADMIN_URL) is by default port 15672 of the broker's host."""
        parts = urlsplit(url)
        self.url = url
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        super().__init__(management_url or f"http://{parts.hostname}:15672", user, password)
        self.check()

    def start(self) -> None:
        raise ServerUnavailable("the RabbitMQ of HUB_TEST_BROKER_URL is not ours to stop: use breakable_rabbitmq")

    stop = kill = restart = start

    def close(self) -> None:
        """Nothing: it is not ours."""


class LocalRabbit(LocalServer):
    """A private broker from the binaries of this machine: own node, cookie, port mapper, ports and data."""

    name = "RabbitMQ"

    def __init__(self) -> None:
        self._program = find_program()
        self._home = ServerHome("rabbitmq")
        self._cookie = secrets.token_hex(16)
        self._user, self._password = "hub", secrets.token_hex(8)
        self._mapper: subprocess.Popen[bytes] | None = None
        self._managed: subprocess.Popen[bytes] | None = None
        self._management_port = 0
        try:
            self._start_on_some_ports()
        except BaseException:
            self._home.close()
            raise

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self._is_running():
            return self._wake()
        self._process = self._home.spawn([str(self._program / "rabbitmq-server")], self._environment(), log="out")
        return wait_ready(self._process, self._greets, READY_WITHIN_S, self._explain)

    def stop(self) -> None:
        """A clean shutdown (a few seconds)."""
        self._end(signal.SIGTERM, lambda member: member.name().startswith("beam"))

    def kill(self) -> None:
        """kill -9 of every process of the broker at once; messages and queues are as at that moment."""
        if self._process is not None:
            self._save_names()
            self._end(signal.SIGKILL)

    def close(self) -> None:
        """End the broker and remove its data."""
        self._end(signal.SIGKILL)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._home.ended(self._mapper)
        self._home.close()

    def add_vhost(self, name: str) -> None:
        self.evaluate(f"ok = rabbit_vhost:add({_binary(name)}, {_binary(self._user)})")
        self.set_permissions(self._user, name, ALL, ALL, ALL)

    def delete_vhost(self, name: str) -> None:
        self.evaluate(f"rabbit_vhost:delete({_binary(name)}, {_binary(self._user)})")

    def add_user(self, name: str, password: str) -> None:
        arguments = f"{_binary(name)}, {_binary(password)}, {_binary(self._user)}"
        self.evaluate(f"ok = rabbit_auth_backend_internal:add_user({arguments})")

    def delete_user(self, name: str) -> None:
        self.evaluate(f"rabbit_auth_backend_internal:delete_user({_binary(name)}, {_binary(self._user)})")

    def set_permissions(self, user: str, vhost: str, configure: str, write: str, read: str) -> None:
        arguments = ", ".join(_binary(text) for text in (user, vhost, configure, write, read, self._user))
        self.evaluate(f"ok = rabbit_auth_backend_internal:set_permissions({arguments})")

    def reconfigure(self, *lines: str, plugins: str) -> None:
        """Start again with these lines of rabbitmq.conf as well, with these plugins, and without `management_url`."""
        folder = self._home.folder
        with (folder / "rabbitmq.conf").open("a", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)
        (folder / "enabled_plugins").write_text(f"[{plugins}].\n", encoding="ascii")
        self.restart()

    def management_url(self) -> str:
        if self._managed is not self._process:
            self._manage()
        return f"http://{self._user}:{self._password}@127.0.0.1:{self._management_port}"

    def _manage(self) -> None:
        """Switch the plugin on (1 s). It is off otherwise, since it counts all that every test does."""
        self._management_port = free_port()
        place = f'[{{port, {self._management_port}}}, {{ip, "127.0.0.1"}}]'
        self.evaluate("application:load(rabbitmq_management)")
        self.evaluate(f"application:set_env(rabbitmq_management, tcp_config, {place})")
        plugins = self._home.folder / "enabled_plugins"
        plugins.write_text("[rabbitmq_management].\n", encoding="ascii")
        self.evaluate("rabbit_plugins:ensure(rabbit_plugins:enabled_plugins_file())")
        plugins.write_text("[].\n", encoding="ascii")
        self._managed = self._process

    def unmanage(self) -> None:
        """Switch the plugin off again."""
        if self._managed is self._process:
            self.evaluate("rabbit_plugins:ensure(rabbit_plugins:enabled_plugins_file())")
            self._managed = None

    def evaluate(self, expression: str, within_s: float = 30) -> str:
        """Run an Erlang expression inside the broker (15 ms; about 1 s where erl_call is missing)."""
        tool = shutil.which("erl_call")
        if tool:
            command = [tool, "-r", "-c", self._cookie, "-address", f"127.0.0.1:{self._node_port}", "-e"]
        else:
            command = [str(self._program / "rabbitmqctl"), "-q", "eval", f"{expression}."]
        done = self._ask(command, expression, within_s)
        for wait_s in CONNECT_AGAIN_AFTER_S:
            if not (done.returncode and UNCONNECTED in done.stderr and self._is_running()):
                break
            # Nothing was evaluated: a broker with much to do answers the handshake too late.
            time.sleep(wait_s)
            done = self._ask(command, expression, within_s)
        if done.returncode != 0 or re.match(r"\{(error|'EXIT')", done.stdout):
            raise ServerUnavailable(f"the broker refused {expression}: {done.stdout}{done.stderr}")
        return done.stdout

    def _ask(self, command: list[str], expression: str, within_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=f"{expression}.\n",
            env=self._environment(),
            text=True,
            capture_output=True,
            timeout=within_s,
            check=False,
        )

    def _save_names(self) -> None:
        """A broker saves the name of a new quorum queue half a second late and cannot find the queue without it.

        That would hit a single broker killed right after the declaration. Tests ask about messages, in queues that
        are older than that.
        """
        with contextlib.suppress(ServerUnavailable, subprocess.TimeoutExpired):
            self.evaluate("[dets:sync(Table) || Table <- dets:all()]", within_s=2)

    def _start_on_some_ports(self) -> None:
        for attempt in range(1, START_ATTEMPTS + 1):
            self._port, self._node_port, self._mapper_port = free_port(), free_port(), free_port()
            self._node = f"hub_{secrets.token_hex(4)}@localhost"
            self.url = f"amqp://{self._user}:{self._password}@127.0.0.1:{self._port}/%2F"
            self._configure()
            self._start_mapper()
            try:
                return self.start()
            except ServerUnavailable:
                # Another process may have taken a port between our look and the broker's bind.
                if attempt == START_ATTEMPTS:
                    raise
                self._end(signal.SIGKILL)
        return None

    def _configure(self) -> None:
        folder = self._home.folder
        cookie = folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(self._cookie, encoding="ascii")
        cookie.chmod(0o400)
        (folder / "enabled_plugins").write_text("[].\n", encoding="ascii")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"default_user = {self._user}\ndefault_pass = {self._password}\n"
            "log.console = false\nlog.file.level = warning\n",
            encoding="ascii",
        )

    def _start_mapper(self) -> None:
        """Erlang nodes find each other through a port mapper; the machine's common one would outlive us."""
        program = shutil.which("epmd")
        if program is None:
            raise ServerUnavailable(HOW_TO_GET_IT)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
        self._mapper = self._home.spawn([program], self._environment(), log="epmd")

    def _environment(self) -> dict[str, str]:
        folder = self._home.folder
        return bare_environment(
            HOME=str(folder),
            ERL_EPMD_PORT=str(self._mapper_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME=self._node,
            RABBITMQ_DIST_PORT=str(self._node_port),
            RABBITMQ_MNESIA_BASE=str(folder / "data"),
            RABBITMQ_LOG_BASE=str(folder / "log"),
            RABBITMQ_PID_FILE=str(folder / "pid"),
            RABBITMQ_CONF_ENV_FILE=str(folder / "no-such-file"),
            RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "enabled_plugins"),
            # Erlang's schedulers otherwise burn idle processor time that belongs to the tests.
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
        )

    def _greets(self) -> bool:
        """Whether the broker answers the AMQP greeting; an open port alone does not say that it has booted."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=2) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return client.recv(1) == b"\x01"
        return False

    def _explain(self) -> str:
        log = self._home.folder / "log" / f"{self._node}.log"
        return self._home.tail("out") + "\n" + self._home.tail(str(log))


def find_program() -> Path:
    """The folder with the broker's own scripts (not Debian's wrapper, which changes the user)."""
    places = [*Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin")]
    if "RABBITMQ_HOME" in os.environ:
        places.insert(0, Path(os.environ["RABBITMQ_HOME"]) / "sbin")
    places += [Path("/opt/homebrew/opt/rabbitmq/sbin"), Path("/usr/local/opt/rabbitmq/sbin")]
    for folder in places:
        if (folder / "rabbitmq-server").exists():
            return folder
    raise ServerUnavailable(HOW_TO_GET_IT)


def _binary(text: str) -> str:
    return "<<" + ",".join(str(byte) for byte in text.encode()) + ">>"
