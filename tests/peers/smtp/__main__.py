"""The server itself: three ports, and its standard input for tests."""

import asyncio
import json
import logging
import sys
import traceback
import warnings
from functools import partial
from typing import Any

from tests.peers.smtp.control import Control
from tests.peers.smtp.conversation import Conversation
from tests.peers.smtp.state import State


def _done(control: Control, line: bytes) -> dict[str, Any]:
    told = json.loads(line)
    try:
        return {"done": getattr(control, told.pop("do"))(**told)}
    except Exception:  # noqa: BLE001, whatever it is, the test shall see it
        return {"error": traceback.format_exc()}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def _serve() -> None:
    state, loop = State(), asyncio.get_running_loop()
    ports = {}
    for security in ("none", "starttls", "ssl"):
        context = state.context if security == "ssl" else None
        talk = partial(Conversation, state, security)
        server = await loop.create_server(talk, "127.0.0.1", 0, ssl=context)
        ports[security] = server.sockets[0].getsockname()[1]
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    _say(ports)
    while line := await told.readline():
        _say(_done(Control(state), line))


if __name__ == "__main__":
    # aiosmtpd tells there of each connection that breaks off, and warns of logins without TLS, which are wanted here.
    logging.disable()
    warnings.simplefilter("ignore")
    asyncio.run(_serve())
