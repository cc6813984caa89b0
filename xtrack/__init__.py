"""XTrack follows X accounts without a daemon: the system's scheduler starts each job, and a digest is left behind."""

__version__ = "0.1.0"
