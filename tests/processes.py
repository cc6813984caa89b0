"""What tests do with processes of their own: kill them at some moment, or have them work where the disk is small."""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def forked(work: Callable[[], object]) -> int:
    """Start a child that does this and nothing else; gives its number.

    Of the databases that it opens none may be open here (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 (a child has nobody else to tell)
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def all_at_once(works: Sequence[Callable[[], object]]) -> None:
    """Do things in processes that all begin when all are there, and end well."""
    reader, writer = os.pipe()

    def begin(work: Callable[[], object]) -> None:
        os.close(writer)
        os.read(reader, 1)
        work()

    pids = [forked(partial(begin, work)) for work in works]
    os.close(reader)
    os.close(writer)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)


def kill_when(is_time: Callable[[], bool], work: Callable[[], object]) -> None:
    """Do something in a process that is killed as soon as it is time, unless it has ended well before."""
    pid = forked(work)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and not is_time():
        pass
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or status == 0


def after(seconds: float) -> Callable[[], bool]:
    """The time after a while, which begins when it is first asked for."""
    end: list[float] = []

    def is_time() -> bool:
        if not end:
            end.append(time.monotonic() + seconds)
        return time.monotonic() >= end[0]

    return is_time


def duration(work: Callable[[], object]) -> float:
    """How long a process takes that is let alone."""
    begun = time.monotonic()
    _, status = os.waitpid(forked(work), 0)
    assert status == 0
    return time.monotonic() - begun


def on_small_disk(folder: Path, kilobytes: int, code: str) -> str:
    """Run Python code with a FOLDER that is a disk of its own, which grow() makes big; gives what it printed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder.mkdir()
    beginning = f"""
import os, subprocess, sys
from pathlib import Path
FOLDER = Path({str(folder)!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={kilobytes}k", "tmpfs", FOLDER], check=True)
def grow():
    subprocess.run(["mount", "-o", "remount,size=100m", FOLDER], check=True)
"""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", beginning + code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no small disk to be had here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout
