"""One GET, from servers that are slow, lie, loop, break off or are not there."""

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.peers.web import Request, Web, answer, closed_port, dripping, redirect, silent, zipped
from xtrack.errors import BadData, Refused, Temporary
from xtrack.sources._http import Answer, Limits, get, problem, retry_after

# Of a test's own server, for those that wait for a limit; the others have time.
QUICK = Limits(connect=0.5, read=0.5, total=1, size=100_000)
PATIENT = Limits(connect=20, read=20, total=20, size=100_000)


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_what_comes_back(web: Web) -> None:
    web.routes["/feed.xml?page=2"] = answer(b"Nets out.", content_type="text/plain", etag='"a"')
    got = get(web.url("/feed.xml?page=2"), {"If-None-Match": '"b"'}, PATIENT)
    assert (got.url, got.status, got.body) == (web.url("/feed.xml?page=2"), 200, b"Nets out.")
    assert (got.headers["etag"], got.headers["content-type"]) == ('"a"', "text/plain")
    assert web.asked[0].headers["if-none-match"] == '"b"'
    assert web.asked[0].headers["user-agent"].startswith("xtrack/")


def test_a_failure_is_an_answer_too(web: Web) -> None:
    web.routes["/feed.xml"] = answer(b"busy", "503 Service Unavailable", retry_after="120")
    got = get(web.url(), {}, PATIENT)
    assert (got.status, got.body, got.headers["retry-after"]) == (503, b"busy", "120")


@pytest.mark.parametrize(
    "packed", [zipped(b"Nets out."), answer(zlib.compress(b"Nets out."), content_encoding="deflate")]
)
def test_what_is_packed_is_unpacked(web: Web, packed: bytes) -> None:
    web.routes["/feed.xml"] = packed
    assert get(web.url(), {}, PATIENT).body == b"Nets out."
    assert web.asked[0].headers["accept-encoding"] == "gzip, deflate"


# redirects


def test_redirects_are_followed_and_counted(web: Web) -> None:
    for number, status in enumerate(("301 M", "302 F", "303 S", "307 T", "308 P")):
        web.routes[f"/{number}"] = redirect(f"/{number + 1}" if number % 2 else web.url(f"/{number + 1}"), status)
    web.routes["/5"] = answer(b"here")
    got = get(web.url("/0"), {}, PATIENT)
    assert (got.url, got.body) == (web.url("/5"), b"here")
    web.routes["/6"] = redirect("/0")
    with pytest.raises(Temporary, match=r"127.0.0.1 redirects more than 5 times"):
        get(web.url("/6"), {}, PATIENT)


def test_a_redirect_for_ever(web: Web) -> None:
    web.routes["/feed.xml"] = redirect("/feed.xml")
    with pytest.raises(Temporary, match="redirects more than 5 times"):
        get(web.url(), {}, PATIENT)
    assert len(web.asked) == 6


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://town.example/", "javascript:x", "http://[", "https:///x"]
)
def test_a_redirect_to_what_is_no_web_address(web: Web, target: str) -> None:
    web.routes["/feed.xml"] = redirect(target)
    with pytest.raises(BadData, match="redirects to what is no web address"):
        get(web.url(), {}, PATIENT)


def test_the_body_of_a_redirect_is_not_read(web: Web) -> None:
    web.routes["/feed.xml"] = dripping(
        redirect("/there").replace(b"Length: 0", b"Length: 900000") + b"x" * 9999, 0.05, 20
    )
    web.routes["/there"] = answer(b"here")
    assert get(web.url(), {}, Limits(total=5)).body == b"here"


def test_a_redirect_whose_target_is_not_ascii(web: Web) -> None:
    web.routes["/feed.xml"] = redirect("/h\u00e4fen".encode().decode("latin-1"))
    web.routes["/h%C3%A4fen"] = answer(b"here")
    assert get(web.url(), {}, PATIENT).body == b"here"


def test_a_redirect_without_a_target_is_an_answer(web: Web) -> None:
    web.routes["/feed.xml"] = answer(status="302 Found")
    assert get(web.url(), {}, PATIENT).status == 302


def test_a_token_stays_with_its_origin(web: Web) -> None:
    with Web() as other:
        web.routes["/feed.xml"] = redirect("/again")
        web.routes["/again"] = redirect(other.url("/other"))
        other.routes["/other"] = redirect(web.url("/back"))
        web.routes["/back"] = answer(b"done")
        get(web.url(), {"Authorization": "Bearer s3cret", "X-Other": "1"}, PATIENT)
    assert [request.headers.get("authorization") for request in web.asked] == ["Bearer s3cret", "Bearer s3cret", None]
    assert "authorization" not in other.asked[0].headers
    assert other.asked[0].headers["x-other"] == "1"


def test_netrc_does_not_replace_a_token(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login kaya password netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    web.routes["/feed.xml"] = answer(b"x")
    get(web.url(), {"Authorization": "Bearer s3cret"}, PATIENT)
    assert web.asked[0].headers["authorization"] == "Bearer s3cret"
    get(web.url(), {}, PATIENT)
    assert "authorization" not in web.asked[1].headers


# time


@pytest.mark.parametrize(
    "whole", [answer(b"x" * 1000), b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000, b"HTTP/1.1 100 C\r\n\r\n" * 99]
)
def test_a_byte_now_and_then(web: Web, whole: bytes) -> None:
    """Each byte comes before the timeout for silence; headers too, and interim answers without end."""
    web.routes["/feed.xml"] = dripping(whole, seconds=0.05)
    start = time.monotonic()
    with pytest.raises(Temporary, match=r"127.0.0.1 took more than 1 seconds to answer"):
        get(web.url(), {}, QUICK)
    assert time.monotonic() - start < 5


def test_a_slow_body_ends_its_thread_too(web: Web) -> None:
    """Not only the one who waits gives up."""
    web.routes["/feed.xml"] = dripping(answer(b"x" * 10_000_000), seconds=0.02, size=2048)
    before = set(threading.enumerate())
    with pytest.raises(Temporary, match="took more than"):
        get(web.url(), {}, Limits(total=0.3))
    ours = [thread for thread in set(threading.enumerate()) - before if "work" in thread.name]
    for thread in ours:
        thread.join(10)
    assert not any(thread.is_alive() for thread in ours)


def test_a_server_that_says_nothing(web: Web) -> None:
    web.routes["/feed.xml"] = silent
    with pytest.raises(Temporary, match=r"127.0.0.1 was silent for too long, 0.5 seconds"):
        get(web.url(), {}, QUICK)


def test_a_server_that_stops_in_the_middle(web: Web) -> None:
    def stop(connection: socket.socket, request: Request) -> None:
        connection.sendall(answer(b"half", content_length="8"))
        connection.recv(1)

    web.routes["/feed.xml"] = stop
    with pytest.raises(Temporary, match="silent for too long"):
        get(web.url(), {}, QUICK)


# lengths


@pytest.mark.parametrize(
    "lie",
    [
        answer(b"half", content_length="8"),
        answer(gzip.compress(b"half", mtime=0), content_encoding="gzip", content_length="80"),
        answer(b"8\r\nhalf\r\n", content_length="", transfer_encoding="chunked"),
        answer(b"zzz\r\nhalf\r\n", content_length="", transfer_encoding="chunked"),
        answer(b"not packed", content_encoding="gzip"),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"",
    ],
)
def test_what_is_broken_or_shorter_than_it_says(web: Web, lie: bytes) -> None:
    web.routes["/feed.xml"] = lie
    with pytest.raises(Temporary, match=r"127.0.0.1 sent an answer that is broken or cut off|no connection to"):
        get(web.url(), {}, PATIENT)


def test_what_is_longer_than_it_says_is_cut_there(web: Web) -> None:
    web.routes["/feed.xml"] = answer(b"all of it", content_length="3")
    assert get(web.url(), {}, PATIENT).body == b"all"


@pytest.mark.parametrize("length", ["", "-5", "many", "9" * 30])
def test_a_length_that_is_none(web: Web, length: str) -> None:
    web.routes["/feed.xml"] = answer(b"all of it", content_length=length)
    if length.startswith("9"):
        with pytest.raises(Temporary):
            get(web.url(), {}, PATIENT)
    else:
        assert get(web.url(), {}, PATIENT).body == b"all of it"


@pytest.mark.parametrize("big", [answer(b"x" * 100_001), zipped(b"x" * 50_000_000)], ids=["plain", "zipped"])
def test_what_is_too_big_is_left(web: Web, big: bytes) -> None:
    web.routes["/feed.xml"] = big
    with pytest.raises(BadData, match=r"127.0.0.1 sends more than 100,000 bytes"):
        get(web.url(), {}, PATIENT)


def test_a_bomb_is_left_before_it_is_unpacked(web: Web) -> None:
    """200 MB of zeros: the memory that it takes is that of a piece."""
    code = f"""
import resource
from xtrack.errors import BadData
from xtrack.sources._http import get
import requests
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    get({web.url()!r}, {{}})
except BadData:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    web.routes["/feed.xml"] = zipped(bytes(200_000_000))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 80


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "gzip,gzip,gzip"])
def test_layers_and_what_was_not_asked_for(web: Web, encoding: str) -> None:
    web.routes["/feed.xml"] = answer(gzip.compress(gzip.compress(b"x")), content_encoding=encoding)
    with pytest.raises(BadData, match="packs its answer in a way that it was not asked for"):
        get(web.url(), {}, PATIENT)


# no connection


def test_nobody_listens() -> None:
    with closed_port() as url, pytest.raises(Temporary, match=r"no connection to 127.0.0.1: Connection refused"):
        get(url, {}, PATIENT)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(Temporary, match=r"no address was found for feeds.invalid"):
        get("http://feeds.invalid/feed.xml", {}, PATIENT)


@pytest.mark.parametrize("url", ["http://a..b/", "http://" + "a" * 300 + ".example/", "http://127.0.0.1:99999/"])
def test_an_address_that_cannot_be_one(url: str) -> None:
    with pytest.raises(BadData, match="cannot be asked: the address is not a valid one"):
        get(url, {}, PATIENT)


def test_a_proxy_is_used_and_named(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["http://feeds.invalid/feed.xml"] = answer(b"through")
    monkeypatch.setenv("http_proxy", web.url(""))
    assert get("http://feeds.invalid/feed.xml", {}, PATIENT).body == b"through"
    with closed_port() as url:
        monkeypatch.setenv("http_proxy", url)
        with pytest.raises(
            Temporary, match=r"no connection to the proxy on the way to feeds.invalid: Connection refused"
        ):
            get("http://feeds.invalid/feed.xml", {}, PATIENT)


def test_a_proxy_that_wants_a_password_first_is_named(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["feeds.invalid:443"] = answer(status="407 Proxy Authentication Required")
    monkeypatch.setenv("https_proxy", web.url(""))
    with pytest.raises(
        Temporary, match=r"^the proxy on the way to feeds.invalid does not let it through \(HTTP 407\)$"
    ):
        get("https://feeds.invalid/feed.xml", {}, PATIENT)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for 127.0.0.1 that it signed itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(
            [*words.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


def test_a_certificate_is_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Web(certificate) as web:
        web.routes["/feed.xml"] = answer(b"safe")
        with pytest.raises(Temporary, match=r"127.0.0.1 has a certificate that cannot be trusted: self-signed"):
            get(web.url(), {}, PATIENT)
        assert web.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("cert.pem")))
        assert get(web.url(), {}, PATIENT).body == b"safe"
        with pytest.raises(Temporary, match="localhost has a certificate that cannot be trusted"):
            get(web.url().replace("127.0.0.1", "localhost"), {}, PATIENT)


def test_a_server_without_tls(web: Web) -> None:
    web.routes["/feed.xml"] = answer(b"x")
    with pytest.raises(Temporary, match=r"no secure connection to 127.0.0.1"):
        get(web.url().replace("http://", "https://"), {}, PATIENT)


# what statuses mean


@pytest.mark.parametrize(
    ("status", "after", "error", "says"),
    [
        (401, "", Refused, "town.example does not allow it (HTTP 401)"),
        (403, "", Refused, "town.example does not allow it (HTTP 403)"),
        (404, "", Temporary, "town.example does not have it (HTTP 404)"),
        (410, "", BadData, "town.example has it no more, for good (HTTP 410)"),
        (429, "90", Temporary, "town.example asks to come back in 90 seconds (HTTP 429)"),
        (429, "900", Temporary, "town.example asks to come back in 15 minutes (HTTP 429)"),
        (503, "Fri, 15 Jan 2027 12:30:00 GMT", Temporary, "come back at 2027-01-15 12:30 UTC (HTTP 503)"),
        (503, "soon", Temporary, "town.example cannot answer now (HTTP 503)"),
        (302, "", Temporary, "town.example cannot answer now (HTTP 302)"),
        (418, "", Temporary, "town.example cannot answer now (HTTP 418)"),
    ],
)
def test_what_a_status_means(status: int, after: str, error: type[Exception], says: str) -> None:
    headers = {"retry-after": after} if after else {}
    found = problem(Answer("https://town.example/feed?token=s3cret", status, headers, b""))
    assert type(found) is error
    assert str(found).endswith(says)
    assert "s3cret" not in str(found)


def test_a_good_status_is_no_problem() -> None:
    assert problem(Answer("https://town.example/", 200, {}, b"")) is None


def test_when_to_come_back() -> None:
    assert retry_after(" 120 ") == timedelta(minutes=2)
    assert retry_after("9" * 99) == timedelta(days=365)
    assert retry_after("Fri, 15 Jan 2027 12:30:00 GMT") == datetime(2027, 1, 15, 12, 30, tzinfo=UTC)
    for nonsense in ("", "-1", "1.5", "٣", "Fri, 99 Jan 2027 12:30:00 GMT", "tomorrow"):
        assert retry_after(nonsense) is None
