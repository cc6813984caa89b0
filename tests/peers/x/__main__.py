"""The server itself: HTTP, and answers that break on their way."""

import argparse
import gzip
import json
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.peers.x.api import Options
from tests.peers.x.control import Control
from tests.peers.x.failures import BROKEN, SLOW, Failure, Reply
from tests.peers.x.state import State, answered
from tests.peers.x.words import VOCABULARIES


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def log_message(self, *_: object) -> None:
        """Nothing: there is a ledger."""

    def __getattr__(self, name: str) -> Any:
        """Every method is answered, if only by a refusal."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/_control" and self.command == "POST":
            self._send(self._controlled(body))
        elif self.path.startswith("/_redirect/"):
            self._send(Reply(302, b"", {"location": self.path + "1"}))
        else:
            self._answer()

    def _controlled(self, body: bytes) -> Reply:
        with self.server.state.lock:
            try:
                # A new Control each time: a reset makes a new world.
                done = [getattr(Control(self.server.state), told.pop("do"))(**told) for told in json.loads(body)]
            except Exception:  # noqa: BLE001, whatever it is, the test shall see it
                return Reply(400, traceback.format_exc().encode(), {})
            return Reply(200, json.dumps(done, default=str).encode(), {})

    def _answer(self) -> None:
        state, failure, entry = self.server.state, None, None
        with state.lock:
            try:
                token, agent = self.headers.get("authorization"), self.headers.get("user-agent", "")
                entry, failure, reply = answered(state, self.command, self.path, token, agent)
            except Exception:  # noqa: BLE001, whatever it is, the test shall see it
                state.bugs.append(traceback.format_exc())
                reply = Reply(500, traceback.format_exc().encode(), {"content-type": "text/plain"})
        if "gzip" in self.headers.get("accept-encoding", "") and state.options.gzip and reply.body:
            packed = gzip.compress(reply.body)
            reply = replace(reply, body=packed, headers={**reply.headers, "content-encoding": "gzip"})
        try:
            self._send(reply, failure)
        except OSError:
            self.close_connection = True
            if entry:
                entry.whole = False

    def _send(self, reply: Reply, failure: Failure | None = None) -> None:
        """One piece, so that no half of it waits for the other's acknowledgement."""
        kind = failure.kind if failure else ""
        self.close_connection = self.close_connection or kind in {*BROKEN, SLOW, "cut_header", "silent"}
        if kind == "silent":
            self.connection.recv(1)
        if kind in ("silent", "cut_header"):
            # Half of a status line.
            self.wfile.write(b"HTTP/1.1 2" if kind == "cut_header" else b"")
            return
        length = len(reply.body) + (int(failure.how.get("more", 64)) if failure and kind == "lying_length" else 0)
        headers = {**reply.headers, "content-length": str(length)}
        if self.close_connection:
            headers["connection"] = "close"
        phrase = self.responses.get(reply.status, ("",))[0]
        lines = [f"HTTP/1.1 {reply.status} {phrase}", f"date: {self.date_time_string()}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
        body = reply.body[: len(reply.body) // 2] if kind == "cut_body" else reply.body
        if failure and kind == SLOW:
            self.wfile.write(head)
            self._drip(body, float(failure.how.get("rate", 100)))
        else:
            self.wfile.write(head + (body if self.command != "HEAD" else b""))

    def _drip(self, body: bytes, rate: float) -> None:
        """`rate` bytes a second, in ten pieces a second at most."""
        size = max(1, round(rate / 10))
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            time.sleep(size / rate)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, state: State) -> None:
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.state = state

    def handle_error(self, *_: object) -> None:
        """That a client went away is no bug."""
        if not isinstance(sys.exception(), OSError):
            self.state.bugs.append(traceback.format_exc())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--listener", type=int, help="the descriptor of a socket that is answered on as well")
    parser.add_argument("--token", default=Options.token)
    parser.add_argument("--vocabulary", choices=VOCABULARIES, default=Options.vocabulary)
    told = parser.parse_args()
    state = State(Options(token=told.token, vocabulary=told.vocabulary))
    listeners = [socket.create_server(("127.0.0.1", told.port), backlog=128)]
    sys.stdout.write(f"{listeners[0].getsockname()[1]}\n")
    sys.stdout.flush()
    listeners += [socket.socket(fileno=told.listener)] if told.listener is not None else []
    for listener in listeners:
        threading.Thread(target=Server(listener, state).serve_forever, daemon=True).start()
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
