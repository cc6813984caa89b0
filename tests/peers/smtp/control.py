"""How tests set the server up, order failures and read the ledger."""

from dataclasses import asdict, replace
from typing import Any

from tests.peers.smtp.state import KINDS, VERBS, Failure, Options, State


class Control:
    """What tests may do, by name."""

    def __init__(self, state: State) -> None:
        self._state = state

    def reset(self, certificate: str = "", **options: Any) -> None:
        """An empty ledger, no failures, and the options as they are but for these; bugs stay.

        `certificate` is a file with a key, too, and stays until there is another one.
        """
        if certificate:
            self._state.context.load_cert_chain(certificate)
        self._state.options = replace(Options(), **options)
        self._state.failures.clear()
        self._state.mails.clear()
        self._state.connections.clear()

    def fail(self, kind: str, verb: str, **how: Any) -> None:
        """Order a failure; earlier ones go first."""
        if kind not in KINDS or verb not in VERBS:
            raise ValueError(f"no {kind} at {verb}: {', '.join(sorted(KINDS))}; {', '.join(sorted(VERBS))}")
        self._state.failures.append(Failure(kind, verb, **how))

    def heal(self) -> int:
        """Take back all failures; how many had not come yet."""
        waiting = sum(failure.times != 0 for failure in self._state.failures)
        self._state.failures.clear()
        return waiting

    def mails(self) -> list[dict[str, Any]]:
        """All that was taken, oldest first."""
        return [asdict(mail) for mail in self._state.mails]

    def connections(self) -> list[list[str]]:
        """The verbs of each connection."""
        return self._state.connections

    def bugs(self) -> list[str]:
        """What a client did that it may not, and what went wrong here."""
        return self._state.bugs

    def forgive(self) -> list[str]:
        """The bugs, which are none any more."""
        bugs, self._state.bugs = self._state.bugs, []
        return bugs
