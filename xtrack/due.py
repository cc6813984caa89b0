"""All that is due: started by the system's scheduler, or where there is none run as children of ours."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from xtrack import ledger, locks
from xtrack.context import Context
from xtrack.errors import Stopped, Temporary
from xtrack.run import UNIT_SECONDS, close_died_run
from xtrack.settings import load

if TYPE_CHECKING:
    from socket import socket

# Exit codes from here on are those of a process that a signal has ended.
_BY_SIGNAL = 128


def run_due(context: Context) -> int:
    """Have all jobs run that have a slot to be tried now, a queued run or something to be mailed; gives the exit code.

    Where the system's scheduler starts them, this does not wait for them, and has itself called again while anything
    waits: an open slot of an active job, also one that is being run or not yet to be tried, a running or queued run, or
    something to be mailed.
    """
    for job_id in {run.job_id for run in context.store.open_runs()} | context.store.sending_jobs():
        with locks.held(locks.job(context.home.locks, job_id)) as ours:
            if ours:
                close_died_run(context, job_id)
    now = context.clock()
    waiting = [(job.id, slot) for job in context.jobs() if (slot := ledger.due(job, now, context.zone))]
    tried = [job for job, slot in waiting if ledger.is_to_be_tried(context.store.attempts(job, slot), now)]
    runs, mails = context.store.open_runs(), context.store.waiting_deliveries()
    to_mail = [job for job, at in mails.items() if ledger.has_come(at, now)]
    ready = sorted({*tried, *to_mail, *(run.job_id for run in runs if run.state == "queued")})
    if context.home.scheduler == "none":
        return _run_children(context, ready)
    context.backend.start(ready, again=bool(waiting or runs or mails))
    return 0


def _run_children(context: Context, job_ids: Sequence[int]) -> int:
    """Run these jobs as children of ours, as many at once as there are places; gives the exit code of them all."""
    free = [job_id for job_id in job_ids if not locks.is_held(locks.job(context.home.locks, job_id))]
    if not free:
        return 0
    from concurrent.futures import ThreadPoolExecutor

    children = _Children()
    with ThreadPoolExecutor(load(context.home, os.environ).parallel_runs) as pool:
        try:
            codes = set(pool.map(children.run, free)) - {0}
        except Stopped:
            children.stop()
            raise
    others = codes - {Temporary.exit_code}
    return max(others) if others else max(codes, default=0)


class _Children:
    """Runs in processes of their own."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job_id: int) -> int:
        """One job, ended when it works longer than a unit may; gives its exit code.

        A child that waits says so as it would to systemd (sd_notify(3)), and its time counts anew.
        """
        import socket
        import tempfile

        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            address = f"{folder}/notify"
            notify.bind(address)
            notify.setblocking(False)
            # Not as a timer's: what is not due yet is for the next call.
            told = {"XTRACK_TRIGGER": "play", "NOTIFY_SOCKET": address}
            command = [sys.executable, "-P", "-m", "xtrack", "run-job", str(job_id)]
            # Ctrl-C is for us, who pass it on once: a second one would not let a child end in order.
            with subprocess.Popen(command, env={**os.environ, **told}, process_group=0) as child:
                self._running.add(child)
                if self._stopped:
                    child.terminate()
                code = _waited_for(child, notify)
                self._running.discard(child)
        return code if 0 <= code < _BY_SIGNAL else Temporary.exit_code

    def stop(self) -> None:
        """Have those that run end in order, and those that are just being started."""
        self._stopped = True
        for child in tuple(self._running):
            child.terminate()


def _waited_for(child: "subprocess.Popen[bytes]", notify: "socket") -> int:
    """The exit code of a child, which is killed when it has been silent for too long."""
    deadline = time.monotonic() + UNIT_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=1)
        with suppress(BlockingIOError):
            while notify.recv(100):
                deadline = time.monotonic() + UNIT_SECONDS
    child.kill()
    return child.wait()
