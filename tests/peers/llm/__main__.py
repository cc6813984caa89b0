"""The server itself: HTTP, and answers that break on their way."""

import json
import sys
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.peers.llm.failures import BROKEN, SLOW, Failure, Reply
from tests.peers.llm.server import Control, State, answered


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
        if self.path == "/_control":
            self._send(self._controlled(body))
        else:
            self._answer(body)

    def _controlled(self, body: bytes) -> Reply:
        with self.server.state.lock:
            try:
                told = json.loads(body)
                done = getattr(Control(self.server.state), told.pop("do"))(**told)
            except Exception:  # noqa: BLE001 - whatever it is, the test shall see it
                return Reply(400, traceback.format_exc().encode(), {})
            return Reply(200, json.dumps(done).encode(), {})

    def _answer(self, body: bytes) -> None:
        state, failure, entry = self.server.state, None, None
        headers = {name.lower(): value for name, value in self.headers.items()}
        with state.lock:
            try:
                entry, failure, reply = answered(state, self.command, self.path, headers, body)
            except Exception:  # noqa: BLE001 - whatever it is, the test shall see it
                state.bugs.append(traceback.format_exc())
                reply = Reply(500, traceback.format_exc().encode(), {"content-type": "text/plain"})
        try:
            self._send(reply, failure)
        except OSError:
            self.close_connection = True
            if entry:
                entry.whole = False

    def _send(self, reply: Reply, failure: Failure | None = None) -> None:
        kind = failure.kind if failure else ""
        self.close_connection = self.close_connection or kind in {*BROKEN, SLOW, "cut_header", "silent"}
        if kind == "silent":
            self.connection.recv(1)
        if kind in ("silent", "cut_header"):
            # Half of a status line.
            self.wfile.write(b"HTTP/1.1 2" if kind == "cut_header" else b"")
            return
        length = len(reply.body) + (64 if kind == "lying_length" else 0)
        headers = {**reply.headers, "content-length": str(length)}
        if self.close_connection:
            headers["connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('',))[0]}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
        body = reply.body[: len(reply.body) // 2] if kind == "cut_body" else reply.body
        self.wfile.write(head)
        if failure and kind == SLOW:
            self._drip(body, float(failure.how.get("rate", 100)))
        else:
            self.wfile.write(body)

    def _drip(self, body: bytes, rate: float) -> None:
        """`rate` bytes a second, in ten pieces a second at most."""
        size = max(1, round(rate / 10))
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            time.sleep(size / rate)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: State) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state

    def handle_error(self, *_: object) -> None:
        """That a client went away is no bug."""
        if not isinstance(sys.exception(), OSError):
            self.state.bugs.append(traceback.format_exc())


def main() -> None:
    server = Server(State())
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
