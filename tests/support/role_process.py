"""`hub run --role …` in a process forked from one that has read the code already: killed and started again in no time.

Reading the code takes longer than everything else a process does before it works, and tests nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

SWEPT_AGAIN_S = 4.0
"""Here what a crash left lying is looked for again after this; an installation waits for half a minute.

The looks are the same, only more of them: to wait longer proves nothing.
"""
BROKER_PATIENCE_S = {"heartbeat_s": 5, "confirm_deadline_s": 5.0}
"""Half of what an installation has: until a process or a broker that stands still is given up."""
_READ_BEFORE = ["pytest", "tests.support.read_before", __name__]


def start_role(role: str, settings: Mapping[str, str], log: Path, clock: Path | None = None) -> BaseProcess:
    """A process of its own that runs one role as the command line does, its output appended to `log`.

    The file `clock` holds the seconds that its time of day is ahead, also while it runs; timers go on as ever, as they
    do when somebody sets a machine's clock.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_READ_BEFORE)
    process = context.Process(target=_run, args=(role, dict(settings), log, clock), name=role)
    process.start()
    return process


def _run(role: str, settings: Mapping[str, str], log: Path, clock: Path | None) -> None:
    from hub.cli import main

    if clock is not None:
        _set_by(clock)
    _wait_less()

    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(settings)
    sys.argv = ["hub", "run", "--no-apply-topology", "--role", role]
    main()


def _wait_less() -> None:
    from hub import outcomes, sweeps
    from hub.broker.amqp import AmqpTransport

    AmqpTransport.__init__.__kwdefaults__.update(BROKER_PATIENCE_S)
    sweeps.LOOK_AGAIN_S = sweeps.OUTBOX_LEASE_S = outcomes.SWEEP_GRACE_S = SWEPT_AGAIN_S


def _set_by(clock: Path) -> None:
    """Every way in which Python code of the hub asks for the time of day; timers are left alone."""
    from hub import clock as clocks

    right = time.time

    def ahead_s() -> float:
        return float(clock.read_text(encoding="ascii")) if clock.exists() else 0.0

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=ahead_s())

    clocks.datetime = Wrong  # type: ignore[misc]
    time.time = lambda: right() + ahead_s()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
