"""Read once, by the process that roles are forked from: what each of them would read before it works.

The command line reads most of it late, to answer quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from adapters.basic.soap.contract import Version, contract

for _name in (
    "alembic.runtime.migration",
    "alembic.script",
    "hub.bootstrap",
    "hub.broker.declare",
    "hub.cli.app",
    "hub.cli.run",
    "hub.gateway.server",
    "hub.logs",
    "hub.recon.continuous",
    "hub.supervisor",
    "psycopg2.extras",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.httptools_impl",
):
    import_module(_name)
for _version in get_args(Version):
    contract(_version)
