"""One sandbox party on a loopback port, with an event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from sandbox.web import Listener, PartyApp

START_S_MAX = 15.0


@contextmanager
def listening(app: PartyApp) -> Iterator[str]:
    """The address at which the party answers until the block ends."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"party-{app.code}", daemon=True)
    thread.start()
    listener = Listener(app, "127.0.0.1", 0)
    asyncio.run_coroutine_threadsafe(listener.open(), loop).result(START_S_MAX)
    try:
        yield f"http://{listener.host}:{listener.port}"
    finally:
        asyncio.run_coroutine_threadsafe(_stopped(app, listener), loop).result(START_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S_MAX)
        loop.close()


async def _stopped(app: PartyApp, listener: Listener) -> None:
    """Nothing listens and nobody waits: a party that was silent would be destroyed in the middle of it."""
    app.forget_delayed()
    await listener.close()
    waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
