"""Who we are: in system scope root becomes the service user at once, and is root again only where it must be.

So that nothing planted in the data folder, which the service user owns, can make root write elsewhere. Only the
effective ids change (seteuid(2)): as_root goes back with them, and a unit needs CAP_SETUID and CAP_SETGID for it.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

SERVICE_USER = "xtrack"


def service_user() -> pwd.struct_passwd | None:
    """The service user's entry, None where there is none yet."""
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


def become_service_user() -> None:
    """As root, become the service user if there is one; as anybody else, do nothing."""
    user = service_user()
    if os.geteuid() != 0 or user is None:
        return
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)


@contextmanager
def as_root() -> Iterator[None]:
    """Root again for a while, if that is what we were started as."""
    uid, gid = os.geteuid(), os.getegid()
    if os.getuid() != 0 or uid == 0:
        yield
        return
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(gid)
        os.seteuid(uid)
