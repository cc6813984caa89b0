"""A strict fake of an OpenAI-compatible server, in a process of its own: `python -m tests.peers.llm` prints its port.

It takes chat completions as server.py tells, has them answered by one of the minds of minds.py or in words that a test
gives, and fails in any way it is told to. Tests steer it, order failures and read the ledger with JSON posted to
/_control: {"do": name, **arguments}; each method of Control is one name. It ends when its standard input does. What it
finds wrong with a request that no server would mind, and a bug of its own, fail the test that started it.
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self


class LLM:
    """The server in a process of its own, from `with` on; its end raises AssertionError when it had bugs."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.peers.llm"]
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.do("reset", **self._options)
        return self

    def __exit__(self, *raised: object) -> None:
        bugs = self.do("bugs") if self._process.poll() is None else ["the server died"]
        self._process.communicate()
        assert not bugs or raised[0], "\n".join(bugs)

    def say(self, content: Any, **more: Any) -> None:
        """As Control.say."""
        self.do("say", content=content, **more)

    def fail(self, kind: str, **more: Any) -> None:
        """As Control.fail."""
        self.do("fail", kind=kind, **more)

    def do(self, action: str, /, **arguments: Any) -> Any:
        """Have Control do something. Raises ValueError with its traceback when it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/_control", json.dumps({"do": action, **arguments}))
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(body)
        return json.loads(body)
