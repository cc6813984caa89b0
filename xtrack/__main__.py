"""Where the command starts, and the one place where errors are printed: a line, a hint, the exit code."""

import os
import sys
from typing import TYPE_CHECKING

from xtrack.errors import XTrackError

if TYPE_CHECKING:
    from xtrack.models import Start

# What the units say of who starts them; a person says nothing.
_STARTS: "dict[str, Start]" = {"timer": "timer", "play": "play"}
_BUG = 70
_INTERRUPTED = 130


def main() -> None:
    """The xtrack command."""
    try:
        sys.exit(_do())
    except XTrackError as error:
        _say(f"xtrack: {error}")
        if error.hint:
            _say(f"  {error.hint}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("xtrack: stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("XTRACK_DEBUG"):
            raise
        _say_bug(error)
        sys.exit(_BUG)


def _do() -> int:
    """A unit's run, for which click would be the heaviest part, or what is typed; gives the exit code."""
    start = _STARTS.get(os.environ.get("XTRACK_TRIGGER", ""))
    if start and len(sys.argv) == 3 and sys.argv[1] == "run-job" and sys.argv[2].isdecimal():
        from xtrack.context import here
        from xtrack.run import run_job

        return run_job(here(), int(sys.argv[2]), start)
    from xtrack.cli import run

    return run()


def _say_bug(error: Exception) -> None:
    from xtrack import bugs

    path = bugs.write(error, "".join(sys.argv[1:2]))
    _say(f"xtrack: a bug: {type(error).__name__}: {error}")
    _say(f"  where it happened is written to {path}" if path else "  XTRACK_DEBUG=1 shows where it happened")
    _say("  please report it: an issue on the project's page, with that text once you have read it")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
