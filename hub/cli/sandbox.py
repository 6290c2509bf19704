"""`hub sandbox`: the make-believe parties as servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="Folder of the parties' books. [default: .hub/sandbox]")]
FixedPorts = Annotated[bool, typer.Option(help="Ports from 18801 on instead of free ones.")]
HubUrl = Annotated[
    str, typer.Option("--hub", help="The hub's HTTP address: where HENGAN finds its mailbox without RabbitMQ.")
]
Broker = Annotated[str, typer.Option(help="AMQP address at which HENGAN reads its queue, instead of --hub.")]
Queue = Annotated[str, typer.Option(help="What the broker calls that queue, where it is not out.HENGAN.")]
Samples = Annotated[
    Path | None,
    typer.Option(help="Write rules.yaml, coverage.csv, settle.json and cancel.json for these parties to this folder."),
]
PortsFile = Annotated[Path | None, typer.Option(help="Write the parties' addresses to this file as JSON.")]
Dialects = Annotated[bool, typer.Option(help="Also the parties that speak dialects of their own.")]
Seed = Annotated[int, typer.Option(help="Seed of fault scripts.")]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when standard input is closed.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sandbox", short_help="Run make-believe parties: a basic system and three insurers.")(sandbox)


def sandbox(
    data: Data = None,
    fixed_ports: FixedPorts = True,
    hub_url: HubUrl = "http://127.0.0.1:8480",
    broker: Broker = "",
    queue: Queue = "",
    samples: Samples = None,
    ports_file: PortsFile = None,
    dialects: Dialects = False,
    seed: Seed = 1,
    supervised: Supervised = False,
) -> None:
    """Run a basic system (SOAP), two REST insurers and a queue insurer, each with its own durable book, until Ctrl-C.

    Their addresses are printed as one line of JSON. GET /sandbox/book shows a party's book, POST /sandbox/faults
    makes it misbehave: docs/how-to/sandbox.md lists how.

    Example: hub sandbox --samples samples
    """
    import asyncio

    from hub.cli.common import fail
    from sandbox.server import ALL_FIXED_PORTS, CastSettings, serve

    cast = CastSettings(
        data=data or Path(".hub/sandbox"),
        ports=ALL_FIXED_PORTS if fixed_ports else {},
        broker_url=broker or None,
        queue=queue,
        hub_url=None if broker else hub_url,
        seed=seed,
        dialects=dialects,
    )
    if samples is not None:
        from hub.demo.samples import write_samples

        write_samples(samples, amqp=bool(broker))
    if supervised:
        _end_with_parent()
    try:
        asyncio.run(serve(cast, ports_file))
    except OSError as error:
        fail(f"the parties cannot listen: {error}; is another sandbox running? --no-fixed-ports takes free ports")


def _end_with_parent() -> None:
    import os
    import signal

    from hub.supervisor import when_parent_is_gone

    when_parent_is_gone(lambda: os.kill(os.getpid(), signal.SIGTERM))
