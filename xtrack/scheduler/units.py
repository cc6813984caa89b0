"""What a home's systemd units are called and say. Pure; facts: systemd.unit(5), systemd.timer(5), systemd.exec(5)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from xtrack import slots
from xtrack.config import Home
from xtrack.models import Job
from xtrack.privileges import SERVICE_USER

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TEMPLATES = {
    "job@.service": "systemd/job.service.j2",
    "manual@.service": "systemd/job.service.j2",
    "run-due.service": "systemd/run-due.service.j2",
    "run-due.timer": "systemd/run-due.timer.j2",
}


def quoted(word: str) -> str:
    """A word of ExecStart=, Environment= or a path setting, as systemd.syntax(7) reads it back."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def on_calendar(job: Job) -> str:
    """The job's slots as a calendar event, systemd.time(7)."""
    cal = slots.calendar(job.frequency, job.at)
    # Not 02/6: from such a base systemd 252 names other hours after a change of the clock.
    hours = "*" if len(cal.hours) == 24 else ",".join(f"{hour:02}" for hour in cal.hours)
    return f"{_weekdays(cal)}*-*-* {hours}:{_minutes(cal)}:00"


def _weekdays(cal: slots.Calendar) -> str:
    if len(cal.weekdays) == 7:
        return ""
    return ",".join(_DAYS[day] for day in cal.weekdays) + " "


def _minutes(cal: slots.Calendar) -> str:
    """One minute, all, or the first and the step."""
    if len(cal.minutes) == 1:
        return f"{cal.minutes[0]:02}"
    step = cal.minutes[1] - cal.minutes[0]
    return "*" if step == 1 else f"{cal.minutes[0]:02}/{step}"


@dataclass(frozen=True)
class Units:
    """The units of one home; any but the scope's default one has a hash of its own in their names."""

    home: Home

    @property
    def prefix(self) -> str:
        digest = sha256(os.fsencode(self.home.data)).hexdigest()[:8]
        return "xtrack" if self.home.is_default else f"xtrack-{digest}"

    @property
    def sweep(self) -> str:
        """The timer that has run-due started once more."""
        return f"{self.prefix}-run-due.timer"

    @property
    def mark(self) -> str:
        """The line by which a file is known as this home's."""
        return f"X-XTrack-Home={quoted(str(self.home.data))}"

    def timer(self, job_id: int) -> str:
        return f"{self.prefix}-job@{job_id}.timer"

    def service(self, job_id: int) -> str:
        """What a job's timer starts."""
        return f"{self.prefix}-job@{job_id}.service"

    def manual(self, job_id: int) -> str:
        """What runs a job that was queued by hand."""
        return f"{self.prefix}-manual@{job_id}.service"

    def job_id(self, name: str) -> int | None:
        """The job whose timer a file name is, None when it is no such name of this home's."""
        number = name.removeprefix(f"{self.prefix}-job@").removesuffix(".timer")
        return int(number) if number.isascii() and number.isdigit() and self.timer(int(number)) == name else None

    def instance(self, name: str, timers: Sequence[str]) -> str:
        """By what the manager knows a unit file: a template's state is that of an instance of one of these timers."""
        job_id = next((job_id for timer in timers if (job_id := self.job_id(timer))), 0)
        return name.replace("@.", f"@{job_id}.")

    def shared_names(self) -> list[str]:
        """The files that all jobs have in common."""
        return [f"{self.prefix}-{name}" for name in _TEMPLATES]

    def shared(self, program: Path, private_users: bool) -> dict[str, str]:
        """The texts of the files that all jobs have in common, by name.

        `private_users`: whether this user's manager can start a unit with PrivateUsers=, on which most of a sandbox
        rests there; the system's manager always can.
        """
        return {f"{self.prefix}-{name}": self._render(name, program, private_users) for name in _TEMPLATES}

    def private_settings(self) -> list[str]:
        """What a user's sandbox has more of where PrivateUsers= can be had, but for the paths that must be there."""
        from xtrack.templates import render

        lines = render("systemd/sandbox-private.j2", data="").splitlines()
        return [line for line in lines if not line.startswith("ReadWritePaths=")]

    def _render(self, name: str, program: Path, private_users: bool) -> str:
        from xtrack.templates import render

        home = self.home
        told = {"XTRACK_SCHEDULER": home.scheduler, "XTRACK_CONFIG": home.config, "XTRACK_DATA": home.data}
        return render(
            _TEMPLATES[name],
            unit=f"{self.prefix}-{name}",
            prefix=self.prefix,
            edit=self._edit,
            mark=self.mark,
            by_hand=name == "manual@.service",
            system=home.is_system,
            private_users=private_users,
            user=SERVICE_USER,
            executable=quoted(str(program)),
            environment=[quoted(f"{name}={value}") for name, value in told.items()],
            data=quoted(str(home.data)),
        )

    def timer_text(self, job: Job) -> str:
        """A job's timer; what stands in it changes with the schedule alone, so that no other update touches it."""
        from xtrack.templates import render

        return render(
            "systemd/job.timer.j2",
            unit=self.timer(job.id),
            edit=self._edit,
            description=f"XTrack job {job.id}, {job.frequency}",
            mark=self.mark,
            calendar=on_calendar(job),
        )

    @property
    def _edit(self) -> str:
        return "systemctl edit" if self.home.is_system else "systemctl --user edit"
