"""The outbox: what waits to be mailed for a job is sent once, put off, or given up."""

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from os import environ

from xtrack import locks
from xtrack.channels import Away, Deferred, Letter, Office, Rejected, Unknown
from xtrack.columns import cut, tidy, wrap
from xtrack.compose import html, show, text
from xtrack.context import Context
from xtrack.errors import Misconfigured, UsageError, XTrackError
from xtrack.models import Delivery, DeliveryState, Job
from xtrack.settings import Mail, load

_COLUMNS = 78
_SUBJECT = 150
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=1)
# A failed try later than this after it was written ends a delivery.
_PATIENCE = timedelta(hours=72)


class _TakenBack(Exception):
    """The delivery is nobody's business any more."""


def deliver(
    context: Context,
    job: Job,
    deliveries: Sequence[Delivery],
    mail: Mail,
    name: str,
    extend: Callable[[float], None] = lambda _: None,
) -> XTrackError | None:
    """Send what is to be mailed for a job now; gives what went wrong last, None when all is sent.

    `name` begins each line that is logged; `extend` is told before each mail how many seconds it may take.
    """
    from xtrack.channels.mail import open_office

    wrong: XTrackError | None = None
    left = list(deliveries)
    try:
        with open_office(mail) as office:
            while left:
                extend(mail.timeout.total_seconds())
                wrong = _send(context, office, job, left[0], name) or wrong
                left.pop(0)
    except (Away, Misconfigured) as error:
        # All of them have to wait. What the store says is nothing that one could be sent again for.
        for delivery in left:
            _put_off(context, delivery, error)
        context.say(f"{name}: {len(left)} not mailed: {error}" + (f" ({error.hint})" if error.hint else ""))
        return error
    return wrong


def send_summary(context: Context, summary_id: int, recipients: Sequence[str]) -> int:
    """Mail a digest to some, or to those whom its job mails to; gives the exit code.

    Raises NotFound when there is none, UsageError when there is nobody to mail it to.
    """
    summary = context.store.summary(summary_id)
    job, mail = context.job(summary.job_id), load(context.home, environ).mail
    if not (recipients or job.emails):
        raise UsageError(f"job {job.id} mails to nobody", f"xtrack send-summary {summary_id} --to ADDRESS")
    posted = context.store.post_summary(summary_id, recipients or job.emails, context.clock())
    with locks.held(locks.job(context.home.locks, job.id)) as ours:
        if not ours:
            context.say(f"job {job.id}: a run is going on, which mails it")
            return 0
        wrong = deliver(context, job, posted, mail, f"job {job.id}")
    context.backend.start([], again=bool(wrong))
    return wrong.exit_code if wrong else 0


def test_mail(context: Context, recipient: str) -> None:
    """Send a mail that says that mail works. Raises what Office.send does, and Misconfigured."""
    from xtrack.channels.mail import open_office
    from xtrack.templates import render

    mail, headline = load(context.home, environ).mail, "Mail from XTrack works"
    lines = [f"Sent by {mail.host} on {context.local(context.clock())}."]
    letter = Letter(
        recipient=recipient,
        key=secrets.token_hex(16),
        thread=f"test.{_home_id(context)}",
        thread_name="XTrack test",
        at=context.clock(),
        subject=headline,
        text=render("mail/alarm.txt.j2", headline=headline, lines=lines, wrap=partial(wrap, columns=_COLUMNS)),
        html=render("mail/alarm.html.j2", headline=headline, lines=lines),
    )
    with open_office(mail) as office:
        office.send(letter, lambda: None)


def _send(context: Context, office: Office, job: Job, delivery: Delivery, name: str) -> XTrackError | None:
    """Send one. Raises Away, and what is wrong with all of them."""
    store, whom = context.store, f"{name}: {delivery.kind} to {delivery.recipient}"

    def begin() -> None:
        if not store.begin_sending(delivery):
            raise _TakenBack

    try:
        office.send(_letter(context, job, delivery), begin)
    except _TakenBack:
        return None
    except Deferred as error:
        _put_off(context, delivery, error)
        context.say(f"{whom}: not mailed: {error}")
        return error
    except (Rejected, Unknown) as error:
        state: DeliveryState = "unknown" if isinstance(error, Unknown) else "failed"
        store.end_sending(delivery, state, context.clock(), str(error))
        context.say(f"{whom}: {state}: {error}")
        return error
    store.end_sending(delivery, "sent", context.clock())
    context.say(f"{whom}: mailed")
    return None


def _put_off(context: Context, delivery: Delivery, error: XTrackError) -> None:
    """Have it tried again 5, 10, 20, 40 minutes later and then every hour, for three days."""
    now = context.clock()
    if now - delivery.created_at > _PATIENCE:
        context.store.end_sending(delivery, "failed", now, f"given up after {_PATIENCE.days} days: {error}")
        return
    pause = min(_FIRST_PAUSE * 2 ** min(delivery.tries, 10), _LONGEST_PAUSE)
    context.store.end_sending(delivery, "pending", now, str(error), now + pause)


def _letter(context: Context, job: Job, delivery: Delivery) -> Letter:
    """What is mailed; made anew for each try, from what is stored."""
    shown = _digest(context, job, delivery) if delivery.summary_id else _alarm(context, job, delivery)
    subject, plain, markup = shown
    return Letter(
        recipient=delivery.recipient,
        key=delivery.key,
        thread=f"job-{job.id}.{_home_id(context)}",
        thread_name=f"XTrack job {job.id}",
        at=delivery.created_at,
        subject=subject,
        text=plain,
        html=markup,
    )


def _digest(context: Context, job: Job, delivery: Delivery) -> tuple[str, str, str]:
    summary = context.store.summary(delivery.summary_id or 0)
    shown = show(summary, context.store.posts(summary.id), job, context.local)
    return shown.subject, text(shown, _COLUMNS), html(shown)


def _alarm(context: Context, job: Job, delivery: Delivery) -> tuple[str, str, str]:
    from xtrack.templates import render

    run = context.store.run(delivery.run_id)
    if delivery.kind == "recovered":
        headline, lines = f"Job {job.id} is well again", [f"Run {run.id} of {context.local(run.started_at)} is done."]
    else:
        headline = f"Job {job.id} is failing"
        when, look = context.local(run.started_at), f"More: xtrack logs {job.id}"
        lines = [f"Run {run.id} of {when} failed: {tidy(run.error)}", "You are told again when it is well.", look]
    plain = render("mail/alarm.txt.j2", headline=headline, lines=lines, wrap=partial(wrap, columns=_COLUMNS))
    return cut(headline, _SUBJECT), plain, render("mail/alarm.html.j2", headline=headline, lines=lines)


def _home_id(context: Context) -> str:
    """By what mails of this home are told from those of others, wherever it moves."""
    known = context.store.recall("home.id")
    if not known:
        known = secrets.token_hex(8)
        context.store.remember("home.id", known)
    return known
