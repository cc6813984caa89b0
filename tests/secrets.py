"""The search for secrets: the token for X that all tests use, in everything that a test leaves behind."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.peers.x.api import Options

TOKEN = Options.token
# Its halves too: a text that was cut somewhere gives it away as well.
_PIECES = [piece.encode() for piece in (TOKEN[: len(TOKEN) // 2], TOKEN[len(TOKEN) // 2 :])]
# Where a secret belongs.
_ITS_PLACE = "config.toml"


def found_in(text: str | bytes) -> bool:
    """Whether the token, or half of it, stands in something."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return any(piece in data for piece in _PIECES)


def leaks(folder: Path) -> list[Path]:
    """The files below a folder that give it away: databases and their logs, units, journals, copies, exports."""
    return [path for path in _files(folder) if found_in(path.read_bytes())]


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name != _ITS_PLACE and path.is_file() and not path.is_symlink() and 0 < path.stat().st_size < 50_000_000:
                yield path
