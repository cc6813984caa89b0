"""X watched by real timers, in both scopes: digests, the bill, failures, a network that comes up late, proxies.

Each scope has an X of its own, a strict fake in a process of its own, which is reached in the machine's network.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.peers.x import X
from tests.peers.x.api import TOKEN
from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, scope_of
from tests.system.test_runs import (
    QUICK_SWEEP,
    attempts_age,
    held,
    next_slot_comes,
    outcomes,
    posts_in_summaries,
    query,
    runs,
    settle,
    unit,
    wait_for_unit,
    wait_until_at,
    wait_until_dead,
    wait_until_done,
    write_config,
)

pytestmark = pytest.mark.systemd

# The second scope in test-slow: nothing in it depends on the scope.
ONE_SCOPE = pytest.mark.parametrize(
    "sites", [["user"], pytest.param(["system"], marks=pytest.mark.slow)], indirect=True, ids=SCOPES
)

ACCOUNTS = {"71": "kaya", "72": "fern", "73": "mill"}
TIMELINE = "/2/users/{}/tweets"
PRICES = {"post": 0.005, "user": 0.01}
NETWORK_SECONDS = 180
USER_CONFIG, SYSTEM_CONFIG = "/home/ann/.config/xtrack/config.toml", "/etc/xtrack/config.toml"


@dataclass
class Site:
    """A scope of a machine, and its X."""

    scope: Scope
    x: X

    def configure(self, **changes: str) -> None:
        told = {"token": self.x.token, "base_url": self.x.url, **changes}
        folder = ".config/xtrack" if self.scope.user else "/etc/xtrack"
        self.scope.machine.run("mkdir", "--parents", folder, user=self.scope.user)
        write_config(self.scope, "\n".join(["[x]", *(f'{key} = "{value}"' for key, value in told.items())]))

    def install(self, *words: str) -> str:
        return self.scope.xtrack("install-job", "--every", "hourly", *words)

    def post(self, author: str, words: str) -> str:
        return str(self.x.do("post", author=author, words=words))

    def digest(self, number: int) -> str:
        return self.scope.xtrack("show-summary", str(number))

    def log(self, job: int, run: int) -> list[str]:
        """What a run said, line by line, in its unit's log; all of it with the run's number in front."""
        self.scope.machine.run("journalctl", "--sync")
        lines = self.scope.xtrack("logs", str(job), "--run", str(run)).splitlines()
        said = [line.partition(f": run {run}: ") for line in lines if " systemd[" not in line]
        assert all(mark for _, mark, _ in said), lines
        return [words for _, _, words in said]

    def requests(self, account_id: str) -> list[int]:
        """What X answered to those who asked for a timeline."""
        return [entry["status"] for entry in self.x.do("ledger") if entry["path"] == TIMELINE.format(account_id)]


@pytest.fixture
def sites(request: pytest.FixtureRequest, machine: Machine) -> Iterator[list[Site]]:
    """Both scopes, or those that are asked for, each with the token of an X where some accounts are."""
    with ExitStack() as running:
        made = []
        for name in getattr(request, "param", SCOPES):
            x = running.enter_context(X(f"{name}-{TOKEN}", machine.listen()))
            x.do_all([{"do": "account", "account_id": one, "username": called} for one, called in ACCOUNTS.items()])
            made.append(Site(scope_of(machine, name), x))
            made[-1].configure()
        yield made
        for site in made:
            assert_token_is_kept(site)


def assert_token_is_kept(site: Site) -> None:
    """By its owner; whether it is anywhere else, the machine finds out."""
    machine, user = site.scope.machine, site.scope.user
    about = machine.run("stat", "--format=%a %U:%G", USER_CONFIG if user else SYSTEM_CONFIG).stdout
    assert about == ("600 ann:ann\n" if user else "640 root:xtrack\n")


def timers_fire(site: Site, *jobs: int) -> None:
    """Let an hour pass without the machine: the jobs' timers are late, and start them at once."""
    timers = [f"xtrack-job@{job}.timer" for job in jobs]
    site.scope.systemctl("stop", *timers)
    folder = site.scope.stamps.relative_to(site.scope.machine.disk)
    stamps = [f"/{folder}/stamp-{timer}" for timer in timers]
    site.scope.machine.run("touch", "--date=2 hours ago", *stamps, user=site.scope.user)
    site.scope.systemctl("start", *timers)


def first_slot(sites: list[Site], *jobs: int) -> None:
    for site in sites:
        an_hour_passes(site.scope)
        timers_fire(site, *jobs)


def following_slot(sites: list[Site], *jobs: int) -> None:
    for site in sites:
        settle(site.scope)
        next_slot_comes(site.scope)
        timers_fire(site, *jobs)


def assert_paid(site: Site) -> None:
    """Usage tells what X has sold, each thing once a day, and what that costs."""
    once = site.x.do("sold")["once"]
    sold = {kind: sum(map(len, days.values())) for kind, days in once.items()}
    total = site.scope.json("usage")["total"]
    assert {"post": total["posts"], "user": total["users"], "media": total["media"]} == sold
    assert total["cost"] == pytest.approx(sum(sold[kind] * price for kind, price in PRICES.items()))


def test_accounts_are_read_told_and_paid_by_a_timer(sites: list[Site]) -> None:
    first = {}
    for site in sites:
        first[site.x] = site.post("kaya", "The ferry leaves at nine.")
        done = site.scope.machine.run(
            "xtrack", "install-job", "@KAYA", "@fern", "--every", "hourly", user=site.scope.user
        )
        assert "Looking up 2 names at X costs $0.02 at most." in done.stderr.splitlines()
        job, following, cost = done.stdout.splitlines()
        assert job == "Job 1 installed: watches @kaya, @fern at X, every hour."
        assert re.fullmatch(r"Next run: \w{3} 20..-..-.. ..:.. CES?T", following)
        # The fake's accounts have posted three times their number since today.
        assert cost == "Cost: $65.29 to $130.58 a month, by about 429 posts a day so far"
        assert site.x.do("sold")["raw"]["post"] == {}
    first_slot(sites, 1)
    for site in sites:
        wait_until_done(site.scope, 1)
        assert "The ferry leaves at nine." in site.digest(1)
        begun, kaya, fern, end = site.log(1, 1)
        assert re.match(r"job 1, slot \w{3} 20..-..-.. ..:.. CES?T", begun)
        assert (kaya, fern) == ("@kaya: 1 post fetched for $0.005 at most", "@fern: 0 posts fetched")
        assert re.match("summary 1: .*; next run ", end)
        assert_paid(site)

    for site in sites:
        site.x.do("edit", post_id=first[site.x], words="The ferry leaves at ten.")
        site.post("kaya", "The harbour is full.")
        site.x.do("delete", post_id=site.post("kaya", "Said too early."))
        site.x.do("change", account="kaya", username="kaya_sund")
        site.x.do("change", account="fern", state="suspended")
        a_month_passes(site.scope)
    following_slot(sites, 1)
    for site in sites:
        wait_until_done(site.scope, 2)
        digest = site.digest(2)
        for told in ("The harbour is full.", "@kaya is called @kaya_sund now", "@fern is suspended at X"):
            assert told in digest
        assert "Said too early." not in digest
        listed = site.scope.xtrack("list-jobs")
        assert "1 new; @fern is suspended at X" in listed
        assert "@kaya_sund, @fern at X" in listed
        assert {row["text"] for row in query(site.scope, "SELECT text FROM posts")} == {
            "The ferry leaves at ten.",
            "The harbour is full.",
        }
        assert "@fern is suspended at X" in site.log(1, 2)
        assert_paid(site)

    for site in sites:
        site.x.do("delete", post_id=site.post("kaya_sund", "Nobody sees this."))
        site.x.do("change", account="fern", state="ok")
        site.post("fern", "Back again.")
    following_slot(sites, 1)
    for site in sites:
        wait_until_done(site.scope, 3)
        digest = site.digest(3)
        assert "Back again." in digest
        assert "@fern can be read again" in digest
        assert "suspended" not in digest + site.scope.xtrack("list-jobs")
        assert posts_in_summaries(site.scope, 1) == [1, 1, 1]
        assert outcomes(site.scope) == [("timer", "done", 0)] * 3
        assert_paid(site)


def a_month_passes(scope: Scope) -> None:
    """As far as the names of accounts are concerned, which are looked up again then."""
    scope.sql("UPDATE accounts SET checked_at = strftime('%Y-%m-%dT%H:%M:%f', checked_at, '-31 days') || '000Z'")


@ONE_SCOPE
def test_failures_of_x_fail_the_unit_and_are_tried_again_when_it_is_time(sites: list[Site]) -> None:
    """Of three jobs one meets a limit of twenty minutes, and one an outage."""
    for site in sites:
        for name in ACCOUNTS.values():
            site.post(name, f"Here is {name}.")
            site.install(f"@{name}")
        site.x.do("fail", kind="window", path=TIMELINE.format(71), reset_in=20 * 60)
        site.x.do("fail", kind="503", path=TIMELINE.format(72), times=None)
    first_slot(sites, 1, 2, 3)
    for site in sites:
        for job in (1, 2):
            wait_for_unit(site.scope, f"xtrack-job@{job}.service", "failed exit-code 75")
        wait_until_done(site.scope, 1)
        assert_limit_is_told(site)
        [away] = runs(site.scope, 2)
        assert "X cannot answer now (HTTP 503): waiting" in site.log(2, away["id"])
        assert site.requests("72") == [503] * 3

    for site in sites:
        site.x.do("heal")
        attempts_age(site.scope, 20)
        site.scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
    for site in sites:
        wait_until_done(site.scope, 3)
        settle(site.scope)
        assert [unit(site.scope, f"xtrack-job@{job}.service") for job in (1, 2, 3)] == ["inactive success 0"] * 3
        assert [posts_in_summaries(site.scope, job) for job in (1, 2, 3)] == [[1]] * 3
        for failed, again in (runs(site.scope, 1), runs(site.scope, 2)):
            assert (again["slot"], again["trigger"]) == (failed["slot"], "timer")
        wait_until_dead(site.scope, "xtrack-run-due.timer")
        assert_paid(site)


def assert_limit_is_told(site: Site) -> None:
    """The time that X named is that of the next try, in the log and in list-jobs."""
    [run] = runs(site.scope, 1)
    until = datetime.fromisoformat(run["next_try"])
    assert timedelta(minutes=19) < until - datetime.now(UTC) < timedelta(minutes=20)
    assert run["error"] == f"X takes no more requests until {until:%Y-%m-%d %H:%M} UTC"
    local = f"{until.astimezone(ZoneInfo(site.scope.machine.zone)):%a %Y-%m-%d %H:%M}"
    assert site.log(1, run["id"])[-1].startswith(f"failed: {run['error']}; tried again {local}")
    assert f"failed (75), again {local}" in site.scope.xtrack("list-jobs")


@ONE_SCOPE
def test_a_token_that_was_revoked_is_named_and_a_new_one_is_taken(sites: list[Site]) -> None:
    for site in sites:
        site.post("mill", "The mill stands still.")
        site.install("@mill")
        site.x.do("options", token=f"later-{TOKEN}")
    first_slot(sites, 1)
    for site in sites:
        wait_for_unit(site.scope, "xtrack-job@1.service", "failed exit-code 77")
        [run] = runs(site.scope)
        assert (run["next_try"], run["closed"]) == (None, 1)
        told = "failed: X does not know this token (HTTP 401) (set x.token to the bearer token of an app: "
        assert site.log(1, run["id"])[-1].startswith(told)
        site.configure(token=f"later-{TOKEN}")
    following_slot(sites, 1)
    for site in sites:
        wait_until_done(site.scope, 1)
        assert posts_in_summaries(site.scope, 1) == [1]


def wait_for_digests(site: Site, job: int, posts: list[int]) -> None:
    """Wait until a job's digests are about so many posts each."""
    site.scope.machine.wait_for(lambda: posts_in_summaries(site.scope, job) == posts, 70, f"{posts} of job {job}")


@ONE_SCOPE
def test_two_jobs_that_start_together_buy_their_account_once(sites: list[Site]) -> None:
    with ExitStack() as locks:
        for site in sites:
            for words in ("The mill stands still.", "The mill turns.", "The mill is sold."):
                site.post("mill", words)
            site.install("@mill")
            site.install("@mill", "--at", "00:30")
            locks.enter_context(held(site.scope, "feed-1"))
        first_slot(sites, 1, 2)
        for site in sites:
            wait_until_at(site.scope, "fetching @mill", 1, 2)
    for site in sites:
        wait_until_done(site.scope, 2)
        assert [posts_in_summaries(site.scope, job) for job in (1, 2)] == [[3], [3]]
        said = [site.log(run["job_id"], run["id"])[1] for run in runs(site.scope)]
        assert sorted(said) == ["@mill: 3 posts fetched for $0.015 at most", "@mill: another run has just read it"]
        assert site.requests("73") == [200]
        assert_paid(site)


# the way to X


@ONE_SCOPE
def test_a_network_that_is_not_up_yet_is_waited_for(sites: list[Site]) -> None:
    """As after the machine woke: no name is found."""
    machine, wait = sites[0].scope.machine, "no address was found for localhost: waiting"
    for site in sites:
        site.post("kaya", "The ferry leaves at nine.")
        site.install("@kaya")
        site.configure(base_url=site.x.url.replace("127.0.0.1", "localhost"))
    hosts = machine.path("/etc/hosts")
    known = hosts.read_text()
    hosts.write_text("")
    first_slot(sites, 1)
    for site in sites:
        wait_until_said(site, 1, wait)
    processes = machine.run("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").stdout
    assert processes.count("run-job\0001\0") == len(sites)
    hosts.write_text(known)
    for site in sites:
        wait_until_done(site.scope, 1)
        assert outcomes(site.scope) == [("timer", "done", 0)]
        assert posts_in_summaries(site.scope, 1) == [1]
        assert site.log(1, 1).count(wait) == 1
        assert site.requests("71") == [200]


def wait_until_said(site: Site, job: int, words: str) -> None:
    unit = f"xtrack-job@{job}.service"
    site.scope.machine.wait_for(lambda: words in site.scope.journal(unit), 30, words)


@pytest.mark.slow
def test_a_network_that_stays_away_is_given_three_minutes_and_a_next_try(sites: list[Site]) -> None:
    """The wait is longer than the unit's timeout, which it extends."""
    machine = sites[0].scope.machine
    for site in sites:
        site.post("kaya", "The ferry leaves at nine.")
        site.install("@kaya")
        site.scope.drop_in("xtrack-job@1.service", "[Service]\nTimeoutStartSec=60s\n")
    with ExitStack() as locks:
        for site in sites:
            locks.enter_context(held(site.scope, "feed-1"))
        first_slot(sites, 1)
        for site in sites:
            wait_until_at(site.scope, "fetching @kaya", 1)
        # Not earlier: the system's manager brings the interface up for each unit that it starts.
        machine.set_network(up=False)
    for site in sites:
        wait_for_unit(site.scope, "xtrack-job@1.service", "failed exit-code 75", 2 * NETWORK_SECONDS)
        (run,) = runs(site.scope)
        begun, ended = (datetime.fromisoformat(run[at]) for at in ("started_at", "finished_at"))
        assert NETWORK_SECONDS <= (ended - begun).total_seconds() < NETWORK_SECONDS + 30
        assert run["error"] == "127.0.0.1 was silent for too long, 10 seconds"
        assert site.requests("71") == []
    machine.set_network(up=True)
    for site in sites:
        attempts_age(site.scope, 5)
        site.scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
        wait_until_done(site.scope, 1)
        assert posts_in_summaries(site.scope, 1) == [1]


@ONE_SCOPE
def test_proxies_are_those_of_the_unit_s_environment(sites: list[Site]) -> None:
    """Of one job a proxy that answers in X's place, of the other one that makes no tunnels."""
    for site in sites:
        site.post("kaya", "The ferry leaves at nine.")
        site.install("@kaya")
        site.install("@fern")
        nobody = {"HTTP_PROXY": site.x.url, "XTRACK_X_BASE_URL": "http://127.0.0.1:9"}
        https = {"HTTPS_PROXY": site.x.url, "XTRACK_X_BASE_URL": "https://api.x.com"}
        for job, environment in ((1, nobody), (2, https)):
            lines = "".join(f"Environment={name}={value}\n" for name, value in environment.items())
            site.scope.drop_in(f"xtrack-job@{job}.service", f"[Service]\n{lines}")
    first_slot(sites, 1, 2)
    for site in sites:
        wait_until_done(site.scope, 1)
        assert posts_in_summaries(site.scope, 1) == [1]
        wait_until_said(site, 2, "the proxy on the way to api.x.com does not let it through (HTTP 404): waiting")


# in real time


@pytest.mark.slow
def test_every_minute_in_real_time(sites: list[Site]) -> None:
    for site in sites:
        site.post("kaya", "The ferry leaves at nine.")
        told = site.scope.xtrack("install-job", "@kaya", "--every", "1min")
        assert told.startswith("Job 1 installed: watches @kaya at X, every minute.\nNext run: ")
    for site in sites:
        wait_for_digests(site, 1, [1])
        site.post("kaya", "It has left.")
    for site in sites:
        wait_for_digests(site, 1, [1, 1])
        assert {run["missed"] for run in runs(site.scope)} == {0}
        assert_paid(site)
