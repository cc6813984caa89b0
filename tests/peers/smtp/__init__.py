"""A strict mail server, in a process of its own: `python -m tests.peers.smtp` prints its ports by their security.

It speaks SMTP by aiosmtpd, keeps what it was given and fails at any verb that it is told to. Tests order failures and
read the ledger by lines of JSON on its standard input, answered on its standard output: {"do": name, **arguments}; each
method of Control is one name. It ends when its input does. What a client may not do, and bugs of its own, fail the test
that started it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

PROJECT = Path(__file__).parents[3]


class Smtp:
    """The server in a process of its own, from `with` on; its end raises AssertionError when there were bugs.

    `ports` are those of "none", "starttls" and "ssl"; the last two want a certificate first.
    """

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.peers.smtp"]
        self._process = subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports: dict[str, int] = self._answer()
        return self

    def __exit__(self, *raised: object) -> None:
        bugs = self.do("bugs") if self._process.poll() is None else ["the server died"]
        self._process.communicate()
        assert not bugs or raised[0], "\n".join(bugs)

    def do(self, action: str, /, **arguments: Any) -> Any:
        """Have Control do something. Raises ValueError with its traceback when it does not."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["done"]

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def certificate(folder: Path, name: str = "IP:127.0.0.1,DNS:localhost", days: int = 2) -> Path:
    """A file with a key and its certificate, which it signed itself; minus one day: it has expired.

    Raises FileNotFoundError where there is no openssl.
    """
    folder.mkdir(parents=True)
    ask = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=peer -keyout key.pem -out asked.pem"
    sign = f"openssl x509 -req -in asked.pem -key key.pem -days {days} -copy_extensions copyall -out certificate.pem"
    for words in ([*ask.split(), "-addext", f"subjectAltName={name}"], sign.split()):
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both
