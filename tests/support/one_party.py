"""One sandbox party on a loopback port, with an event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.web import Listener, PartyApp

START_S_MAX = 15.0


@contextmanager
def listening(app: PartyApp) -> Iterator[str]:
    """The address at which the party answers until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"party-{app.code}", daemon=True)
    thread.start()
    listener = Listener(app, "127.0.0.1", 0)
    asyncio.run_coroutine_threadsafe(listener.open(), loop).result(START_S_MAX)
    try:
        yield f"http://{listener.host}:{listener.port}"
    finally:
        asyncio.run_coroutine_threadsafe(listener.close(), loop).result(START_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S_MAX)
        loop.close()
