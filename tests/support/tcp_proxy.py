"""A TCP proxy whose line a test can break: slow, silent, one-way, cut in the middle, reset, half-closed, repeated.

It stands between two programs that keep talking to the proxy's port whatever happens behind it. What is silent holds
bytes back and delivers them when the line is healed, as a network does; what is cut is gone for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, TypeVar

from tests.support.processes import free_port

Direction = Literal["up", "down"]
"""`up` is towards the server, `down` towards the client."""
T = TypeVar("T")
Address = tuple[str, int]

LOOPBACK = "127.0.0.1"
READ_MAX = 65_536
CONNECT_S_MAX = 2.0
ANSWER_S_MAX = 10.0
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing says RST instead of FIN."""


@dataclass(slots=True)
class _Rules:
    """How the line behaves in one direction."""

    open: asyncio.Event
    delay_s: float = 0.0
    left: int | None = None
    """Bytes that still pass before the line ends; None is no limit."""
    ending: Literal["reset", "end"] = "reset"


@dataclass(slots=True, eq=False)
class _Pair:
    """One client's connection and the one made for it."""

    client: socket.socket
    server: socket.socket
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    sent_up: bytearray = field(default_factory=bytearray)
    open_ends: int = 2


class TcpProxy:
    """Listens on a loopback port of its own and connects each client to the first of `targets` that takes it."""

    def __init__(self, *targets: Address, record: bool = False) -> None:
        """With `record` what clients send is kept, so that it can be sent once more."""
        self.port = free_port()
        self.targets: Sequence[Address] = targets
        self._record = record
        self._recorded: list[bytes] = []
        self._refusing = False
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._rules: dict[Direction, _Rules] = {}
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        """host:port for the client."""
        return f"{LOOPBACK}:{self.port}"

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Hold every piece back for a while (both directions when none is named); 0 ends it."""
        self._set(directions, lambda rules: setattr(rules, "delay_s", seconds))

    def silence(self, *directions: Direction) -> None:
        """Let nothing through and tell nobody, on old and new connections."""
        self._set(directions, lambda rules: rules.open.clear())

    def cut_after(self, count: int, direction: Direction, *, ending: Literal["reset", "end"] = "reset") -> None:
        """After `count` more bytes that way, all connections together, end the connection they came on.

        `ending` "end" is an orderly FIN after a piece that is cut short, "reset" an RST. New connections work.
        """

        def limit(rules: _Rules) -> None:
            rules.left, rules.ending = count, ending

        self._set((direction,), limit)

    def reset(self) -> int:
        """Reset every connection there is; how many there were."""
        return self._do(self._reset())

    def half_close(self, direction: Direction) -> None:
        """Say "no more" that way on every connection there is; the other way stays open."""
        self._do(self._half_close(direction))

    def refuse(self, yes: bool = True) -> None:
        """Reset each new connection at once."""
        self._refusing = yes

    def heal(self) -> None:
        """A good line again; what was held back goes on its way."""
        self._refusing = False

        def good(rules: _Rules) -> None:
            rules.delay_s, rules.left = 0.0, None
            rules.open.set()

        self._set((), good)

    def forget(self) -> None:
        """Keep nothing of what was recorded so far."""
        self._recorded.clear()
        for pair in tuple(self._pairs):
            pair.sent_up.clear()

    def repeat(self) -> list[bytes]:
        """Send what each client sent so far once more, on a connection of its own; what the server answered.

        The server must end a connection that it has answered on, as HTTP's does when it is told to.
        """
        said, self._recorded = self._recorded, []
        said += [bytes(pair.sent_up) for pair in self._pairs if pair.sent_up]
        return [self._do(self._say_again(one)) for one in said]

    @property
    def connections(self) -> int:
        return len(self._pairs)

    # From here on: the proxy's own thread.

    def _do(self, what: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    def _set(self, directions: Sequence[Direction], change: Callable[[_Rules], None]) -> None:
        async def each() -> None:
            for direction in directions or ("up", "down"):
                change(self._rules[direction])

        self._do(each())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        for direction in ("up", "down"):
            self._rules[direction] = _Rules(asyncio.Event())
            self._rules[direction].open.set()
        self._listener = socket.create_server((LOOPBACK, self.port), backlog=128)
        self._listener.setblocking(False)
        self._accepting = self._loop.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._serve(client))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, client: socket.socket) -> None:
        server = None if self._refusing else await self._connected()
        if server is None:
            _reset(client)
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        pair.tasks = [
            self._loop.create_task(self._pump(pair, client, server, "up")),
            self._loop.create_task(self._pump(pair, server, client, "down")),
        ]

    async def _connected(self) -> socket.socket | None:
        for target in self.targets:
            server = socket.socket()
            server.setblocking(False)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    await self._loop.sock_connect(server, target)
                return server
            except OSError:
                server.close()
        return None

    async def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        rules = self._rules[direction]
        try:
            while piece := await self._loop.sock_recv(source, READ_MAX):
                await self._pass_on(pair, piece, sink, rules)
                if self._record and direction == "up":
                    pair.sent_up += piece
            await rules.open.wait()
            sink.shutdown(socket.SHUT_WR)
        except (OSError, _LineCut):
            self._drop(pair, reset=rules.ending == "reset")
            return
        pair.open_ends -= 1
        if pair.open_ends == 0:
            self._drop(pair, reset=False)

    async def _pass_on(self, pair: _Pair, piece: bytes, sink: socket.socket, rules: _Rules) -> None:
        if rules.delay_s:
            await asyncio.sleep(rules.delay_s)
        await rules.open.wait()
        if rules.left is None:
            await self._loop.sock_sendall(sink, piece)
            return
        passes, rules.left = piece[: rules.left], rules.left - len(piece)
        if passes:
            await self._loop.sock_sendall(sink, passes)
        if rules.left <= 0:
            rules.left = None
            raise _LineCut

    def _drop(self, pair: _Pair, *, reset: bool) -> None:
        if pair not in self._pairs:
            return
        self._pairs.discard(pair)
        if pair.sent_up:
            self._recorded.append(bytes(pair.sent_up))
        for task in pair.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        for end in (pair.client, pair.server):
            self._loop.remove_reader(end.fileno())
            self._loop.remove_writer(end.fileno())
            if reset:
                _reset(end)
            else:
                end.close()

    async def _reset(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair, reset=True)
        return len(pairs)

    async def _half_close(self, direction: Direction) -> None:
        for pair in self._pairs:
            with contextlib.suppress(OSError):
                (pair.server if direction == "up" else pair.client).shutdown(socket.SHUT_WR)

    async def _say_again(self, said: bytes) -> bytes:
        server = await self._connected()
        if server is None:
            return b""
        answer = bytearray()
        with server, contextlib.suppress(OSError):
            async with asyncio.timeout(ANSWER_S_MAX):
                await self._loop.sock_sendall(server, said)
                while piece := await self._loop.sock_recv(server, READ_MAX):
                    answer += piece
        return bytes(answer)

    async def _close(self) -> None:
        self._accepting.cancel()
        self._listener.close()
        for task in tuple(self._serving):
            task.cancel()
        await self._reset()
        await _settled(tuple(asyncio.all_tasks()))


class _LineCut(Exception):
    """The bytes that were to pass have passed."""


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    end.close()


async def _settled(tasks: Sequence[Awaitable[object]]) -> None:
    others = [task for task in tasks if task is not asyncio.current_task()]
    await asyncio.gather(*others, return_exceptions=True)
