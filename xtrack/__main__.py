"""Where the command starts, and the one place where errors are printed: a line, a hint, the exit code."""

import gc
import os
import signal
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from xtrack.errors import Stopped, XTrackError
from xtrack.streams import open_all, printable, tell

if TYPE_CHECKING:
    from types import FrameType

    from xtrack.models import Start

# What the units say of who starts them; a person says nothing.
_STARTS: "dict[str, Start]" = {"timer": "timer", "play": "play"}
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
_BUG = 70


def main() -> None:
    """The xtrack command."""
    try:
        open_all()
        sys.unraisablehook = _lost
        _on_signals(_stop)
        code = _outcome()
        _on_signals(_end)
    except Stopped as stop:
        tell("xtrack: stopped")
        code = stop.exit_code
    # At its own end Python would have a late one kill us, all being done.
    _on_signals(signal.SIG_IGN)
    sys.exit(code)


def _on_signals(action: "signal._HANDLER") -> None:
    """What a signal does that somebody sends to stop us. One that our caller has us ignore (nohup) stays so."""
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, action)


def _stop(number: int, _: "FrameType | None") -> None:
    _on_signals(_end)
    raise Stopped(number)


def _end(number: int, _: "FrameType | None") -> None:
    """We are ending already. timeout(1) sends each signal twice."""


def _lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Where nobody could catch it, in the callback of a weak reference say, Python drops a stop: have it come again."""
    stop = unraisable.exc_value
    if not isinstance(stop, Stopped):
        sys.__unraisablehook__(unraisable)
        return

    def again(*_: object) -> None:
        _on_signals(_end)
        raise stop

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _outcome() -> int:
    """Do what is to be done, and tell what went wrong; gives the exit code."""
    try:
        return _do()
    except XTrackError as error:
        tell(f"xtrack: {printable(str(error))}")
        if error.hint:
            tell(f"  {error.hint}")
        return error.exit_code
    except Exception as error:
        if os.environ.get("XTRACK_DEBUG"):
            raise
        _say_bug(error)
        return _BUG
    finally:
        gc.freeze()  # or Python would look through all objects once more for what it could free, at its very end


def _do() -> int:
    """A unit's run, for which click would be the heaviest part, or what is typed; gives the exit code."""
    start = _STARTS.get(os.environ.get("XTRACK_TRIGGER", ""))
    if start and len(sys.argv) == 3 and sys.argv[1] == "run-job" and sys.argv[2].isdecimal():
        gc.disable()  # a run leaves next to nothing for it, and looking takes a fortieth of the time
        from xtrack.context import here
        from xtrack.run import run_job

        with closing(here()) as context:
            return run_job(context, int(sys.argv[2]), start)
    from xtrack.cli import run

    return run()


def _say_bug(error: Exception) -> None:
    path = None
    # Whatever is wrong may be in the way here too.
    with suppress(Exception):
        from xtrack import bugs

        path = bugs.write(error, "".join(sys.argv[1:2]))
    tell(f"xtrack: a bug: {type(error).__name__}: {printable(str(error)):.300}")
    tell(f"  where it happened is written to {path}" if path else "  XTRACK_DEBUG=1 shows where it happened")
    tell("  please report it: an issue on the project's page, with that text once you have read it")


if __name__ == "__main__":
    main()
