"""`hub run` and `hub health`: the hub's processes, and whether they can work."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import NEGATIVE, TIMEOUT_S, AsJson, console, database_url, fail, settings, show_json

if TYPE_CHECKING:
    from hub.bootstrap import Hub, Role
    from hub.settings import Settings

BROKER_WAIT_S = 30.0

RoleNames = Annotated[
    list[str] | None,
    typer.Option("--role", help="gateway, engine, adapters or relay; may be given several times. All when left out."),
]
Migrate = Annotated[bool, typer.Option("--migrate", help="Bring the database to the current schema first.")]
ApplyTopology = Annotated[
    bool,
    typer.Option(
        "--apply-topology/--no-apply-topology",
        help="Declare exchanges and queues in RabbitMQ before the engine starts.",
    ),
]
ReadyTo = Annotated[int, typer.Option("--ready-to", hidden=True, help="File descriptor to tell that it works.")]
Listener = Annotated[int, typer.Option("--listener", hidden=True, help="File descriptor of the gateway's socket.")]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when standard input is closed.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", short_help="Run the hub, whole or in roles.")(run)
    app.command("health", short_help="Check database, rule book, broker and gateway.")(health)


def run(
    role: RoleNames = None,
    migrate: Migrate = False,
    apply_topology: ApplyTopology = True,
    supervised: Supervised = False,
    ready_to: ReadyTo = -1,
    listener: Listener = -1,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C; a second signal ends it at once.

    Without --role: all roles. They are threads of this process with the embedded broker, and one child process each,
    restarted when it dies, with RabbitMQ; SIGHUP then replaces them by new ones without a refused or lost request.
    With --role: those roles in this process, for containers or many machines.

    Example: hub run --migrate        Example: hub run --role engine --role relay
    """
    given = settings()
    roles = _roles(role or [])
    alone = bool(role) or given.embedded_broker
    from hub.logs import configure_logs

    configure_logs(given.log_level, given.log_format, role="+".join(sorted(roles)) if alone else "supervisor")
    with database_url(given) as url:
        if migrate and not given.embedded_database:
            from store.database import upgrade

            upgrade(url)
        _refuse_old_schema(url)
        if apply_topology and not given.embedded_broker and (not alone or "engine" in roles):
            _apply_topology(given, url)
        if alone:
            _run_here(given, roles, url, _Supervision(supervised, ready_to, listener))
        else:
            _run_children(given, url, supervised)


def health(as_json: AsJson = False) -> None:
    """Check what the hub needs: database and schema, an active rule book, the broker, and the gateway if it is here.

    A gateway that does not run on this machine is reported and not counted as a failure; one that answers that it is
    not ready is. Exit code 0 when all is well, 1 otherwise.

    Example: hub health --json
    """
    from hub.cli.health import checks

    found = checks(settings(), TIMEOUT_S)
    well = all(check.ok for check in found)
    if as_json:
        show_json({"ok": well, "checks": [{"what": one.what, "ok": one.ok, "detail": one.detail} for one in found]})
    else:
        for one in found:
            console().print(f"{'ok  ' if one.ok else 'FAIL'}  {one.what}: {one.detail}")
    if not well:
        raise typer.Exit(NEGATIVE)


def _roles(names: list[str]) -> frozenset[Role]:
    from hub.bootstrap import ALL_ROLES, Role

    try:
        return frozenset(Role(name) for name in names) or ALL_ROLES
    except ValueError:
        fail(f"--role: one of {', '.join(Role)}", 2)


def _refuse_old_schema(url: str) -> None:
    from store.database import open_engine, schema_revisions

    engine = open_engine(url, pool_size=1, application="hub-start")
    try:
        present, wanted = schema_revisions(engine)
    finally:
        engine.dispose()
    if present != wanted:
        fail(f"the database is at revision {present}, this version needs {wanted}: run `hub db upgrade` first")


def _apply_topology(given: Settings, url: str) -> None:
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

    from hub.cli.topology import declare_topology
    from schemas.errors import Unavailable

    # Containers that start together find the broker not ready yet.
    patiently = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(BROKER_WAIT_S),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        reraise=True,
    )
    report = patiently(declare_topology, given, url)
    if not report.ok:
        fail("the broker refuses the topology, `hub topology check` says more:\n  " + "\n  ".join(report.refused))


# Whoever understands a message before whoever writes it; the one that speaks to callers last.
ROLL_ORDER = ("adapters", "relay", "engine", "gateway")


@dataclass(frozen=True, slots=True)
class _Supervision:
    """What a supervisor gives to its child; all of it missing in a process that stands alone."""

    supervised: bool = False
    ready_to: int = -1
    listener: int = -1


def _run_children(given: Settings, url: str, supervised: bool) -> None:
    from hub.listener import listen
    from hub.supervisor import Child, Supervisor, when_parent_is_gone

    environment = {**os.environ, "HUB_DATABASE_URL": url}
    if given.embedded_database and not given.person_key_secret.get_secret_value():
        fail("HUB_PERSON_KEY_SECRET: must be set when the hub runs with RabbitMQ", 2)
    # Held here, so that callers meet an open door whichever gateway lives or dies behind it.
    with listen(given.http_host, given.http_port) as door:
        command = [sys.executable, "-m", "hub.cli", "run", "--supervised", "--no-apply-topology"]
        children = []
        for role in ROLL_ORDER:
            at_door = (door.fileno(),) if role == "gateway" else ()
            more = ["--listener", str(door.fileno())] if at_door else []
            children.append(Child(role, [*command, "--role", role, *more], environment, at_door))
        supervisor = Supervisor(children, stop_timeout_s=given.stop_timeout_s + given.drain_s + 5)
        if supervised:
            when_parent_is_gone(supervisor.stop)
        if supervisor.run() != 0:
            raise typer.Exit(NEGATIVE)


def _run_here(given: Settings, roles: frozenset[Role], url: str, supervision: _Supervision) -> None:
    import structlog

    from hub.bootstrap import bootstrap
    from hub.supervisor import tell_ready

    log = structlog.get_logger()
    with _signals(supervision.supervised) as stop:
        hub = bootstrap(given, roles, database_url=url)
        if hub.gateway is not None and supervision.listener >= 0:
            hub.gateway.listen_on(socket.socket(fileno=supervision.listener))
        hub.start()
        log.info("hub_ready", roles=[role.value for role in sorted(roles)], **_address(hub))
        if supervision.ready_to >= 0:
            tell_ready(supervision.ready_to)
        stop.wait()
        log.info("hub_stopping")
        if hub.gateway is not None:
            hub.gateway.drain(given.drain_s)
        clean = hub.stop()
    log.info("hub_stopped", clean=clean)


def _address(hub: Hub) -> dict[str, Any]:
    gateway = getattr(hub, "gateway", None)
    return {} if gateway is None else {"http": f"http://{hub.settings.http_host}:{gateway.port}"}


@contextlib.contextmanager
def _signals(supervised: bool) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the second of them ends the process where it stands."""
    from hub.supervisor import when_parent_is_gone

    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    if supervised:
        # Ctrl-C reaches the whole process group; only the supervisor decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        when_parent_is_gone(stop.set)
    else:
        signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    yield stop
