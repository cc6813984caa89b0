"""`python -m xtrack.demo`: a job on the bundled sample, from installation to digest, on a real timer if there is one.

Everything happens in a home of its own, which is taken away at the end, also after Ctrl-C.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xtrack.config import Home, locate, machine_zone
from xtrack.context import Context, utc_now
from xtrack.scheduler.manager import executable
from xtrack.scheduler.systemd import Systemd
from xtrack.scheduler.units import Units

_PATIENCE_SECONDS = 90
_GO_ON = """
That was all of it: no daemon, the system's own timer started the run. To go on:
  pipx install .
  xtrack install-job --source sample --every hourly       # again, to stay
  xtrack install-job --source posts.jsonl --every daily --at 07:30
  xtrack --help
"""


def main() -> None:
    """Show it, then take everything away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _own_home() as data:
            environment = _environment(data)
            try:
                _show(environment)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _xtrack(environment, "uninstall", "--yes", quiet=True)
    except KeyboardInterrupt:
        sys.exit("\nStopped. Everything that the demo made is gone again.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"The demo stops here: {' '.join(error.cmd[1:])} failed. Everything that it made is gone again.")


@contextmanager
def _own_home() -> Iterator[Path]:
    """A folder for the demo alone; not below /tmp, which a unit may see as an empty one."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    state.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="xtrack-demo-", dir=state))
    try:
        yield data
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _environment(data: Path) -> dict[str, str]:
    """The demo's home, on the user's systemd where one answers, else without a scheduler."""
    told = {**os.environ, "XTRACK_HOME": str(data)}
    for name in ("XTRACK_DATA", "XTRACK_CONFIG", "XTRACK_TRIGGER"):
        told.pop(name, None)
    found = Systemd(locate({**told, "XTRACK_SCHEDULER": "systemd-user"})).checks([])[0]
    if found.ok:
        print(f"Here is {found.detail}: it will start the job.\n")
        return {**told, "XTRACK_SCHEDULER": "systemd-user"}
    print(f"No timer can be had here ({found.detail}).")
    print("So the demo sets XTRACK_SCHEDULER=none and calls `xtrack run-due` itself, as cron would.\n")
    return {**told, "XTRACK_SCHEDULER": "none"}


def _xtrack(environment: dict[str, str], *words: str, quiet: bool = False) -> None:
    """Type a command for the reader; raises CalledProcessError when it fails."""
    if not quiet:
        print(f"$ xtrack {' '.join(words)}", flush=True)
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([executable(), *words], env=environment, check=True, stdout=output, stderr=output)
    if not quiet:
        print(flush=True)


def _asked(environment: dict[str, str], *words: str) -> Any:
    """What a command says in JSON."""
    done = subprocess.run([executable(), *words, "--json"], env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def _show(environment: dict[str, str]) -> None:
    _xtrack(environment, "install-job", "--source", "sample", "--every", "1min")
    job = _asked(environment, "show-job", "1")
    _count_down(datetime.fromisoformat(job["next_run"]))
    if environment["XTRACK_SCHEDULER"] == "none":
        _xtrack(environment, "run-due")
    else:
        _wait_for_the_timers_run(environment)
    _xtrack(environment, "show-summary", "1")
    _xtrack(environment, "list-jobs")
    if environment["XTRACK_SCHEDULER"] == "none":
        _show_units(locate({**environment, "XTRACK_SCHEDULER": "systemd-user"}))
    else:
        _show_timers(job["timer"])
    print(_GO_ON)


def _count_down(moment: datetime) -> None:
    """Say how long it is until then: on a terminal every second in one line, else every ten seconds."""
    on_terminal = sys.stdout.isatty()
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
        if on_terminal:
            print(f"\rFires in {left:2.0f} s ", end="", flush=True)
        elif int(left) % 10 == 0:
            print(f"Fires in {left:.0f} s", flush=True)
        time.sleep(min(left, 1))
    print("\r" * on_terminal + "It is time.   \n", flush=True)


def _wait_for_the_timers_run(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _asked(environment, "list-summaries"):
        if time.monotonic() > deadline:
            _xtrack(environment, "logs", "1")
            raise subprocess.CalledProcessError(1, ["xtrack", "the timer's run"])
        time.sleep(0.5)
    _xtrack(environment, "logs", "1")


def _show_timers(timer: str) -> None:
    pattern = timer.partition("-job@")[0] + "-*"
    print(f"$ systemctl --user list-timers '{pattern}'", flush=True)
    subprocess.run(["systemctl", "--user", "--no-pager", "list-timers", pattern], check=False)


def _show_units(home: Home) -> None:
    """The units that a systemd would have been given."""
    units = Units(home)
    (job,) = Context(home, machine_zone(), utc_now, print).jobs()
    print("With systemd these files would have been written:")
    texts = {**units.shared(executable(), private_users=True), units.timer(job.id): units.timer_text(job)}
    for name, text in texts.items():
        print(f"\n----- {name}\n{text}", end="", flush=True)


if __name__ == "__main__":
    main()
