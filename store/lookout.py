"""Giving up a database server that stands still, where another one may have taken over.

A frozen server keeps its connections and answers nothing: whoever waits on one of them would wait until it wakes up.
A server that merely takes its time (a commit that waits for a standby) answers newcomers and is left in peace.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, ref

import psycopg2
import structlog
from sqlalchemy import Engine, event

log = structlog.get_logger()

IN_USE_S_MAX = 6.0
"""A connection in use for longer makes us ask whether its server is alive; no statement of ours may take so long."""
ANSWER_S_MAX = 3.0
PAUSE_S = 2.0
_MAY_I_USE_TLS = struct.pack("!ii", 8, 80877103)
"""The first words of PostgreSQL's protocol that need no name and no password."""
Address = tuple[str, int]


class Lookout:
    """Watches the connections of one engine for as long as the engine is used."""

    def __init__(self, engine: Engine) -> None:
        self._in_use: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._lock = threading.Lock()
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._returned)
        threading.Thread(target=_watch, args=(ref(engine), self), name="database-lookout", daemon=True).start()

    def look(self) -> int:
        """Cut the connections to servers that stand still; how many there were."""
        late = self._late()
        silent = {address for address in set(late.values()) if not answers(address)}
        cut = [connection for connection, address in late.items() if address in silent]
        for connection in cut:
            _cut(connection, late[connection])
        if cut:
            log.error("database_stands_still", connections=len(cut))
        return len(cut)

    def _late(self) -> dict[Any, Address]:
        since = time.monotonic() - IN_USE_S_MAX
        with self._lock:
            found = [connection for connection, taken_at in self._in_use.items() if taken_at < since]
        late: dict[Any, Address] = {}
        for connection in found:
            # It may be closed by whoever uses it while we look.
            with suppress(psycopg2.Error):
                late[connection] = (connection.info.host, connection.info.port)
        return late

    def _taken(self, connection: Any, *_: object) -> None:
        with self._lock:
            self._in_use[connection] = time.monotonic()

    def _returned(self, connection: Any, *_: object) -> None:
        if connection is not None:
            with self._lock:
                self._in_use.pop(connection, None)


def answers(address: Address) -> bool:
    """Whether the server says anything to a newcomer."""
    try:
        with socket.create_connection(address, ANSWER_S_MAX) as line:
            line.settimeout(ANSWER_S_MAX)
            line.sendall(_MAY_I_USE_TLS)
            return bool(line.recv(1))
    except OSError:
        return False


def _cut(connection: Any, address: Address) -> None:
    """End the line under a connection that another thread waits on; that thread gets an error."""
    with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        # The number may have become another file's meanwhile.
        if line.getpeername()[1] == address[1]:
            line.shutdown(socket.SHUT_RDWR)


def _watch(engine: ref[Engine], lookout: Lookout) -> None:
    while engine() is not None:
        time.sleep(PAUSE_S)
        lookout.look()
