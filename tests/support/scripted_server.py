"""A TCP or TLS server on loopback that does to each connection what a test's script says: answers, stalls, lies."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Script = Callable[["Peer"], None]
STOP_WAIT_S_MAX = 10.0


@dataclass
class Peer:
    """The server's end of one connection."""

    sock: socket.socket
    stopping: threading.Event
    number: int
    """How many connections came before this one."""

    def read_request(self) -> bytes:
        """Headers and body of one HTTP request; fewer bytes when the client left."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            if not piece:
                return data
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
        while missing > 0:
            piece = self.sock.recv(missing)
            if not piece:
                break
            data += piece
            missing -= len(piece)
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_for_the_end(self) -> None:
        """Holds the connection open without a word until the test is over."""
        self.stopping.wait(STOP_WAIT_S_MAX)

    def reset(self) -> None:
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


@dataclass
class ScriptedServer:
    """Where it listens and what it has read."""

    port: int
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/pay"


def http(body: bytes, content_type: str, status: str = "200 OK", extra: str = "") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


@contextlib.contextmanager
def scripted_server(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Runs `script` once per connection, each in its own thread; all threads are gone afterwards."""
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server = ScriptedServer(listener.getsockname()[1], "https" if tls else "http")
        acceptor = threading.Thread(target=_accept, args=(listener, server, script, tls, stopping))
        acceptor.start()
        try:
            yield server
        finally:
            stopping.set()
            acceptor.join()


def _accept(
    listener: socket.socket,
    server: ScriptedServer,
    script: Script,
    tls: ssl.SSLContext | None,
    stopping: threading.Event,
) -> None:
    threads = []
    while not stopping.is_set():
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            continue
        peer = Peer(sock, stopping, server.connections)
        server.connections += 1
        threads.append(threading.Thread(target=_converse, args=(peer, script, tls)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def _converse(peer: Peer, script: Script, tls: ssl.SSLContext | None) -> None:
    peer.sock.settimeout(STOP_WAIT_S_MAX)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        if tls is not None:
            peer.sock = tls.wrap_socket(peer.sock, server_side=True)
        stack.callback(peer.sock.close)
        script(peer)


def free_port() -> int:
    """A port on which nobody listens at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
