"""A strict fake of the X API v2, in a process of its own: `python -m tests.peers.x --port 0` prints its port.

It answers as api.py tells, out of a world in memory, and fails in any way it is told to. Tests change the world, order
failures and read the ledger with JSON posted to /_control: {"do": name, **arguments}; each method of Control is one
name. It ends when its standard input does. A bug of its own is a 500 with the traceback in the ledger, and fails the
test that started it.
"""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.peers.x.api import Options
from tests.peers.x.text import Json


class X:
    """The server in a process of its own, from `with` on; its end raises AssertionError when it had bugs.

    With a `listener`, a socket that may be in another network, it is to be found there, at `url`; control stays here.
    """

    def __init__(self, token: str = Options.token, listener: socket.socket | None = None, **options: Any) -> None:
        self.token = token
        self._listener, self._options = listener, options

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.peers.x"]
        root, passed = Path(__file__).parents[3], []
        if self._listener:
            passed = [self._listener.fileno()]
            command += ["--listener", str(passed[0])]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=root, text=True, stdin=pipe, stdout=pipe, pass_fds=passed)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1] if self._listener else self.port}"
        self.do_all([{"do": "options", "token": self.token}, {"do": "reset", **self._options}])
        return self

    def __exit__(self, *raised: object) -> None:
        bugs = self.do("bugs") if self._process.poll() is None else ["the server died"]
        self._process.communicate()
        assert not bugs or raised[0], "\n".join(bugs)

    def do(self, action: str, /, **arguments: Any) -> Any:
        """Have Control do something. Raises ValueError with its traceback when it does not."""
        return self.do_all([{"do": action, **arguments}])[0]

    def do_all(self, actions: Sequence[Json]) -> list[Any]:
        """Have Control do things one after the other, in one go. Raises ValueError at the first that it does not do."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/_control", json.dumps(actions))
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(body)
        done: list[Any] = json.loads(body)
        return done
