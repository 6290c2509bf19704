"""`hub run --role …` in a process forked from one that has read the code already: killed and started again in no time.

Reading the code takes longer than everything else a process does before it works, and tests nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

_READ_BEFORE = ["pytest", "hub.cli.app", "hub.bootstrap", "hub.broker.declare", __name__]


def start_role(role: str, settings: Mapping[str, str], log: Path) -> BaseProcess:
    """A process of its own that runs one role as the command line does, its output appended to `log`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_READ_BEFORE)
    process = context.Process(target=_run, args=(role, dict(settings), log), name=role)
    process.start()
    return process


def _run(role: str, settings: Mapping[str, str], log: Path) -> None:
    from hub.cli import main

    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(settings)
    sys.argv = ["hub", "run", "--no-apply-topology", "--role", role]
    main()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
