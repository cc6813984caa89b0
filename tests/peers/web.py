"""A real HTTP server on loopback that answers with exact bytes, and so can misbehave in every way."""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Request:
    """What was asked: the path with its query, and the headers by lower-case name."""

    path: str
    headers: Mapping[str, str]


# What a path does: its answer, byte for byte, or a function that talks on the connection itself.
Answering = bytes | Callable[[socket.socket, Request], object]


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; `content_type="text/xml"` makes a header. A true Content-Length unless one is given."""
    fields = {"content_length": str(len(body)), "connection": "close", **headers}
    lines = [f"{name.replace('_', '-').title()}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + body


def zipped(body: bytes, **headers: str) -> bytes:
    """A whole answer, packed with gzip."""
    return answer(gzip.compress(body, mtime=0), content_encoding="gzip", **headers)


def redirect(target: str, status: str = "302 Found") -> bytes:
    return answer(status=status, location=target)


def dripping(whole: bytes, seconds: float, size: int = 1) -> Callable[[socket.socket, Request], object]:
    """So many bytes every so many seconds, until the other side goes away."""

    def drip(connection: socket.socket, _: Request) -> None:
        stopped = threading.Event()
        for start in range(0, len(whole), size):
            connection.sendall(whole[start : start + size])
            stopped.wait(seconds)

    return drip


def silent(connection: socket.socket, _: Request) -> None:
    """Say nothing until the other side goes away."""
    connection.recv(1)


@dataclass
class Web:
    """The server: `routes` by path with query, and all that was asked. Other paths get 404."""

    certificate: Path | None = None
    routes: dict[str, Answering] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = None
        if self.certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self.certificate)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would not wake who waits in accept(2).
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def url(self, path: str = "/feed.xml") -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}{path}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                request = _read(connection)
                self.asked.append(request)
                does = self.routes.get(request.path, answer(status="404 Not Found"))
                if isinstance(does, bytes):
                    connection.sendall(does)
                else:
                    does(connection, request)


def _read(connection: socket.socket) -> Request:
    received = b""
    while b"\r\n\r\n" not in received:
        if received.startswith(b"\x16"):  # TLS, where none is spoken: what common servers say then
            connection.sendall(answer(status="400 Bad Request"))
            raise ConnectionError("not HTTP")
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("nothing was asked")
        received += piece
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return Request(first.split()[1], {name.lower(): value.strip() for name, value in pairs})


@contextmanager
def closed_port() -> Iterator[str]:
    """A URL on whose port nobody listens: bound, so that nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/feed.xml"
