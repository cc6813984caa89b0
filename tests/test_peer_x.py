"""The fake of the X API: as strict as the published specification, and as unkind as it is told to be."""

import gzip
import http.client
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.peers.x import X
from tests.peers.x.api import TOKEN
from tests.peers.x_life import Life
from xtrack.sources._v2 import Author, posts, sightings

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)
ALL_OF_POSTS = "attachments,created_at,entities,lang,note_post"
EVERYTHING = {
    "post.fields": ALL_OF_POSTS,
    "expansions": "referenced_posts,attachments.media_keys,attachments.poll_ids",
    "max_results": 100,
}


@pytest.fixture(scope="module")
def process():
    with X() as x:
        yield x


@pytest.fixture
def x(process):
    """A new world with two accounts, in which it is noon and time stands still."""
    process.do("reset")
    process.do("clock", now=NOW.isoformat(), frozen=True)
    process.do("account", account_id="71", username="anna", name="Anna Hollin")
    process.do("account", account_id="72", username="BoSkarn", name="Bo & the <Gulls>")
    yield process
    assert process.do("bugs") == []


@pytest.fixture
def get(x):
    """Ask on one connection: status, headers and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", x.port, timeout=10)

    def ask(path, *, token=x.token, method="GET", agent="a test", **params):
        query = "&".join(f"{name}={quote(str(value), safe=',')}" for name, value in params.items())
        headers = {"authorization": f"Bearer {token}", "user-agent": agent, "accept-encoding": "identity"}
        sent = {name: value for name, value in headers.items() if value and value != "Bearer None"}
        connection.request(method, f"{path}?{query}" if query else path, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(body or "null")

    yield ask
    connection.close()


@pytest.fixture
def timeline(get):
    """One page of Anna's timeline that must be good."""

    def ask(user="71", **params):
        status, _, page = get(f"/2/users/{user}/tweets", **params)
        assert status == 200, page
        return page

    return ask


def at(minutes):
    return (NOW + timedelta(minutes=minutes)).isoformat()


def anna(x, *texts, **more):
    """Posts of Anna, a minute apart, the last one now."""
    actions = [
        {"do": "post", "author": "anna", "words": text, "at": at(number + 1 - len(texts)), **more}
        for number, text in enumerate(texts)
    ]
    return x.do_all(actions)


def ids(page):
    return [post["id"] for post in page.get("data", [])]


# What is shown


def test_a_post_has_what_was_asked_for_and_no_more(x, timeline):
    (post_id,) = anna(x, "Low tide at noon.")
    assert timeline()["data"] == [{"id": post_id, "text": "Low tide at noon.", "edit_history_post_ids": [post_id]}]
    assert timeline(**{"post.fields": "created_at,lang,entities"})["data"] == [
        {
            "id": post_id,
            "text": "Low tide at noon.",
            "edit_history_post_ids": [post_id],
            "created_at": "2027-01-15T12:00:00.000Z",
            "lang": "en",
        }
    ]
    page = timeline(expansions="author_id")
    assert page["data"][0].keys() == {"id", "text", "edit_history_post_ids", "author_id"}
    assert page["includes"] == {"users": [{"id": "71", "name": "Anna Hollin", "username": "anna"}]}


def test_an_empty_timeline(timeline):
    assert timeline(expansions="author_id") == {"meta": {"result_count": 0}}


def test_links_and_html_are_as_x_writes_them(x, timeline):
    anna(x, 'Tea & <cake> for "Bo\'s": https://example.org/menu?a=1&b=2, says @boskarn. #tea2 $ABC @nobody')
    (post,) = timeline(**{"post.fields": "entities"})["data"]
    (url,) = post["entities"]["urls"]
    assert url["expanded_url"] == "https://example.org/menu?a=1&b=2"
    assert post["text"] == f'Tea &amp; &lt;cake&gt; for "Bo\'s": {url["url"]}, says @boskarn. #tea2 $ABC @nobody'
    assert re.fullmatch(r"https://t\.co/[0-9A-Za-z]{10}", url["url"])
    shown = {
        kind: [post["text"][entity["start"] : entity["end"]] for entity in entities]
        for kind, entities in post["entities"].items()
    }
    mentions = ["@boskarn", "@nobody"]
    assert shown == {"urls": [url["url"]], "mentions": mentions, "hashtags": ["#tea2"], "cashtags": ["$ABC"]}
    assert [mention.get("id") for mention in post["entities"]["mentions"]] == ["72", None]


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        ("Indeed.", "@BoSkarn Indeed.", 9),
        ("", "@BoSkarn", 8),
        ("@boskarn indeed", "@boskarn indeed", 9),
        ("@anna @BoSkarn indeed", "@anna @BoSkarn indeed", 15),
        ("@anna indeed", "@BoSkarn @anna indeed", 15),
        ("So says @BoSkarn", "@BoSkarn So says @BoSkarn", 9),
    ],
)
def test_a_reply_has_the_name_in_front_that_it_answers(x, timeline, words, shown, hidden):
    other = x.do("post", author="BoSkarn", words="High tide.")
    (first,) = anna(x, words, replied_to=other)
    anna(x, words, replied_to=first)
    thread, reply = timeline(**{"post.fields": "entities,display_text_range"})["data"]
    assert (reply["text"], reply["display_text_range"]) == (shown, [hidden, len(shown)])
    assert {"start": 0, "end": 8, "username": "BoSkarn", "id": "72"} in reply["entities"]["mentions"] or words[
        :1
    ] == "@"
    assert (thread["text"], thread["display_text_range"]) == (words, [0, len(words)])
    changed = x.do("edit", post_id=first, words="Well.")
    assert next(post["text"] for post in timeline()["data"] if post["id"] == changed) == "@BoSkarn Well."


def test_a_repost_is_cut_short_while_the_includes_have_all_of_it(x, timeline):
    words = "Twelve boats went out & twelve came back, says the harbour master. " * 3
    original = x.do("post", author="BoSkarn", words=words)
    anna(x, "", retweeted=original)
    page = timeline(**EVERYTHING)
    (post,) = page["data"]
    assert post["text"].startswith("RT @BoSkarn: Twelve boats went out &amp; twelve")
    assert post["text"].endswith("…")
    assert len(post["text"].replace("&amp;", "&")) == 140
    assert post["referenced_posts"] == [{"type": "retweeted", "id": original}]
    assert page["includes"]["posts"][0]["text"] == words.replace("&", "&amp;")


def test_a_long_post_has_a_note(x, timeline):
    words = "The ferry is late again & nobody knows why. " * 10 + "https://example.org/late"
    (post_id,) = anna(x, words)
    (post,) = timeline(**EVERYTHING)["data"]
    (link,) = post["entities"]["urls"]
    assert link["expanded_url"] == f"https://x.com/i/web/status/{post_id}"
    assert post["text"].endswith(f"… {link['url']}")
    assert len(post["text"].replace("&amp;", "&")) == 280
    (own,) = post["note_post"]["entities"]["urls"]
    assert own["expanded_url"] == "https://example.org/late"
    assert post["note_post"]["text"] == words.replace("&", "&amp;").replace("https://example.org/late", own["url"])
    assert "note_post" not in timeline()["data"][0]


def test_a_quote_links_to_what_it_quotes(x, timeline):
    quoted = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "Look:", quoted=quoted)
    page = timeline(**EVERYTHING)
    (post,) = page["data"]
    (url,) = post["entities"]["urls"]
    assert url["expanded_url"] == f"https://x.com/BoSkarn/status/{quoted}"
    assert post["text"] == f"Look: {url['url']}"
    assert [one["text"] for one in page["includes"]["posts"]] == ["High tide."]


def test_media_and_polls_are_included_once_and_only_when_asked_for(x, timeline):
    anna(x, "Boats", media=[{"type": "photo", "alt_text": "a boat"}, {"type": "video"}])
    anna(x, "Tea or coffee?", poll=["tea", "coffee"])
    assert timeline()["data"][0].keys() == {"id", "text", "edit_history_post_ids"}
    page = timeline(**EVERYTHING, **{"media.fields": "alt_text,duration_ms"})
    photo, video = page["includes"]["media"]
    assert photo.keys() == {"media_key", "type", "alt_text"}
    assert video.keys() == {"media_key", "type", "duration_ms"}
    (poll,) = page["includes"]["polls"]
    assert [option["label"] for option in poll["options"]] == ["tea", "coffee"]
    asked, boats = page["data"]
    assert asked["attachments"] == {"poll_ids": [poll["id"]]}
    assert boats["attachments"] == {"media_keys": [photo["media_key"], video["media_key"]]}
    assert {url["display_url"].split("/")[0] for url in boats["entities"]["urls"]} == {"pic.x.com"}
    assert x.do("sold")["raw"]["media"] == {"2027-01-15": [photo["media_key"], video["media_key"]]}


def test_includes_hold_each_post_once(x, timeline):
    original = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "One", quoted=original)
    anna(x, "Two", quoted=original)
    assert [one["id"] for one in timeline(**EVERYTHING)["includes"]["posts"]] == [original]


def test_an_edit_gets_a_new_id_and_hides_the_old_version(x, timeline, get):
    first, other = anna(x, "Low tde.", "Later.")
    changed = x.do("edit", post_id=first, words="Low tide.")
    page = timeline(expansions="edit_history_post_ids")
    assert ids(page) == [changed, other]
    assert page["data"][0]["edit_history_post_ids"] == [first, changed]
    assert [one["text"] for one in page["includes"]["posts"]] == ["Low tde.", "Low tide."]
    _, _, body = get("/2/tweets", ids=first)
    assert (body["data"][0]["text"], body["data"][0]["edit_history_post_ids"]) == ("Low tde.", [first, changed])


def test_what_is_still_to_come_is_not_there_yet(x, timeline):
    (now,) = anna(x, "Now.")
    later = x.do("post", author="anna", words="Later.", at=at(5))
    edited = x.do("edit", post_id=now, words="Now!", at=at(10))
    assert ids(timeline()) == [now]
    x.do("clock", now=at(5), frozen=True)
    assert ids(timeline()) == [later, now]
    x.do("clock", now=at(10), frozen=True)
    assert ids(timeline()) == [edited, later]


def test_a_deleted_post_takes_its_reposts_along(x, timeline, get):
    original = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "", retweeted=original)
    (quote_id,) = anna(x, "Look:", quoted=original)
    x.do("delete", post_id=original)
    page = timeline(**EVERYTHING)
    assert ids(page) == [quote_id]
    assert "includes" not in page
    assert page["errors"] == [
        {
            "value": original,
            "detail": f"Could not find tweet with referenced_posts: [{original}].",
            "title": "Not Found Error",
            "resource_type": "post",
            "parameter": "referenced_posts",
            "resource_id": original,
            "type": "https://api.x.com/2/problems/resource-not-found",
        }
    ]
    status, _, body = get("/2/tweets", ids=f"{original},{quote_id}")
    assert (status, ids(body), body["errors"][0]["parameter"]) == (200, [quote_id], "ids")


def test_posts_of_a_protected_account_may_not_be_seen(x, timeline):
    quoted = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "Look:", quoted=quoted)
    anna(x, "", retweeted=quoted)
    x.do("change", account="72", state="protected")
    page = timeline(**EVERYTHING)
    assert len(page["data"]) == 2
    assert [error["title"] for error in page["errors"]] == ["Authorization Error"]


def test_metrics_that_are_not_for_apps(x, timeline):
    anna(x, "Low tide.")
    page = timeline(**{"post.fields": "non_public_metrics"})
    assert [error["field"] for error in page["errors"]] == ["non_public_metrics"]


# Walking a timeline


def walk(timeline, **params):
    """All pages, and the last one's meta."""
    pages = [timeline(max_results=5, **params)]
    while token := pages[-1]["meta"].get("next_token"):
        pages.append(timeline(max_results=5, pagination_token=token, **params))
    return [ids(page) for page in pages], pages


def test_all_pages_newest_first(x, timeline):
    posts = anna(x, *(f"number {number}" for number in range(12)))
    pages, answers = walk(timeline)
    assert [len(page) for page in pages] == [5, 5, 2]
    assert list(chain.from_iterable(pages)) == posts[::-1]
    assert answers[0]["meta"] == {
        "result_count": 5,
        "newest_id": posts[11],
        "oldest_id": posts[7],
        "next_token": answers[0]["meta"]["next_token"],
    }
    back = timeline(max_results=5, pagination_token=answers[1]["meta"]["previous_token"])
    assert ids(back) == pages[0]


def test_ten_posts_unless_told_otherwise(x, timeline):
    anna(x, *(f"number {number}" for number in range(12)))
    assert len(timeline()["data"]) == 10


def test_a_walk_goes_on_where_it_was_while_posts_come_and_go(x, timeline):
    posts = anna(x, *(f"number {number}" for number in range(12)))
    token = timeline(max_results=5)["meta"]["next_token"]
    x.do("post", author="anna", words="New.", at=at(0))
    x.do("delete", post_id=posts[7])
    x.do("delete", post_id=posts[6])
    assert ids(timeline(max_results=5, pagination_token=token)) == [posts[number] for number in (5, 4, 3, 2, 1)]


def test_since_id_must_be_sent_with_each_page(x, timeline):
    posts = anna(x, *(f"number {number}" for number in range(12)))
    pages, _ = walk(timeline, since_id=posts[3])
    assert list(chain.from_iterable(pages)) == posts[:3:-1]
    token = timeline(max_results=5, since_id=posts[3])["meta"]["next_token"]
    assert ids(timeline(max_results=5, pagination_token=token))[-1] == posts[2]


@pytest.mark.parametrize(
    "bounds, expected",
    [
        ({"since_id": 2}, [5, 4, 3]),
        ({"until_id": 2}, [1, 0]),
        ({"since_id": 1, "until_id": 4}, [3, 2]),
        ({"start_time": -2}, [5, 4, 3]),
        ({"end_time": -2}, [2, 1, 0]),
        ({"start_time": -4, "end_time": -2}, [2, 1]),
        ({"since_id": 4, "start_time": -5}, [5]),
        ({"since_id": 0, "start_time": -1}, [5, 4, 3, 2, 1]),
        ({"until_id": 5, "end_time": -3}, [4, 3, 2, 1, 0]),
    ],
)
def test_bounds_and_which_of_them_win(x, timeline, bounds, expected):
    posts = anna(x, *(f"number {number}" for number in range(6)))
    told = {
        name: posts[value] if name.endswith("_id") else at(value).replace("+00:00", "Z")
        for name, value in bounds.items()
    }
    assert ids(timeline(**told)) == [posts[number] for number in expected]


def test_exclude_drops_threads_too(x, timeline):
    other = x.do("post", author="BoSkarn", words="High tide.")
    (first,) = anna(x, "A thread.")
    (second,) = anna(x, "Its end.", replied_to=first)
    (answer,) = anna(x, "Indeed.", replied_to=other)
    (repost,) = anna(x, "", retweeted=other)
    (quoting,) = anna(x, "Look:", quoted=other)
    assert ids(timeline(exclude="replies")) == [quoting, repost, first]
    assert ids(timeline(exclude="retweets")) == [quoting, answer, second, first]
    assert ids(timeline(exclude="replies,retweets")) == [quoting, first]
    page = timeline(expansions="in_reply_to_user_id", **{"post.fields": "conversation_id"})
    told = {post["id"]: (post.get("in_reply_to_user_id"), post["conversation_id"]) for post in page["data"]}
    assert (told[answer], told[second], told[first]) == (("72", other), ("71", first), (None, first))


def test_only_the_newest_3200_and_without_replies_800(x, timeline):
    start = NOW - timedelta(hours=1)
    actions = [
        {"do": "post", "author": "anna", "words": "x", "at": (start + timedelta(seconds=number)).isoformat()}
        for number in range(3205)
    ]
    posts = x.do_all(actions)
    assert ids(timeline(until_id=posts[10])) == posts[9:4:-1]
    page = timeline(exclude="replies", until_id=posts[-790])
    assert ids(page) == [posts[-number] for number in range(791, 801)]
    assert "next_token" not in page["meta"]


def test_ragged_pages_have_holes(x, timeline):
    x.do("options", ragged=True)
    posts = anna(x, *(f"number {number}" for number in range(12)))
    for post_id in posts[:7]:
        x.do("delete", post_id=post_id)
    pages, answers = walk(timeline)
    assert pages == [posts[:6:-1], [], []]
    assert answers[1]["meta"].keys() == {"result_count", "next_token", "previous_token"}


# Accounts


def test_users_by_names_whole_and_in_part(x, get):
    x.do("account", account_id="73", username="quiet", state="protected")
    x.do("account", account_id="74", username="loud", state="suspended")
    x.do("account", account_id="75", username="left", state="gone")
    names = "ANNA,boskarn,quiet,loud,left,never,anna,never"
    status, _, body = get("/2/users/by", usernames=names, **{"user.fields": "protected"})
    assert status == 200
    assert body["data"] == [
        {"id": "71", "name": "Anna Hollin", "username": "anna", "protected": False},
        {"id": "72", "name": "Bo & the <Gulls>", "username": "BoSkarn", "protected": False},
        {"id": "73", "name": "quiet", "username": "quiet", "protected": True},
    ]
    assert [(error["title"], error["detail"], error["parameter"]) for error in body["errors"]] == [
        ("Forbidden", "User has been suspended: [loud].", "usernames"),
        ("Not Found Error", "Could not find user with usernames: [left].", "usernames"),
        ("Not Found Error", "Could not find user with usernames: [never].", "usernames"),
    ]
    assert x.do("sold")["raw"]["user"] == {"2027-01-15": ["71", "72", "73"]}
    x.do("options", protected_is_error=True)
    _, _, body = get("/2/users/by", usernames="quiet")
    assert [error["title"] for error in body["errors"]] == ["Authorization Error"]


def test_users_by_id_and_one_by_name(x, get):
    assert get("/2/users", ids="72,71")[2]["data"][0]["username"] == "BoSkarn"
    assert get("/2/users/by/username/ANNA")[2]["data"]["id"] == "71"
    status, _, body = get("/2/users/by/username/never")
    assert (status, list(body), body["errors"][0]["value"]) == (200, ["errors"], "never")


def test_a_rename_keeps_the_id_and_frees_the_name(x, get, timeline):
    original = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "", retweeted=original)
    x.do("change", account="72", username="bo_at_sea")
    x.do("account", account_id="99", username="BoSkarn")
    assert get("/2/users/by", usernames="bo_at_sea,BoSkarn")[2]["data"][0]["id"] == "72"
    assert get("/2/users/by", usernames="BoSkarn")[2]["data"][0]["id"] == "99"
    assert timeline()["data"][0]["text"] == "RT @BoSkarn: High tide."
    with pytest.raises(ValueError, match="the name ANNA is taken"):
        x.do("change", account="72", username="ANNA")


@pytest.mark.parametrize(
    "state, title, detail",
    [
        ("gone", "Not Found Error", "Could not find user with id: [71]."),
        ("suspended", "Forbidden", "User has been suspended: [71]."),
        ("protected", "Authorization Error", "Sorry, you are not authorized to see the user with id: [71]."),
    ],
)
def test_the_timeline_of_an_account_that_cannot_be_seen_has_errors_only(x, timeline, state, title, detail):
    anna(x, "Low tide.")
    x.do("change", account="71", state=state)
    page = timeline()
    assert list(page) == ["errors"]
    assert [(error["title"], error["detail"]) for error in page["errors"]] == [(title, detail)]


def test_mentions_that_cannot_be_seen_are_errors_beside_the_data(x, timeline):
    x.do("account", account_id="74", username="loud", state="suspended")
    x.do("account", account_id="75", username="left", state="gone")
    anna(x, "@loud @never @BoSkarn @loud @left")
    page = timeline(expansions="entities.mentions.username", **{"post.fields": "entities"})
    told = {mention["username"]: mention.get("id") for mention in page["data"][0]["entities"]["mentions"]}
    assert told == {"loud": "74", "never": None, "BoSkarn": "72", "left": None}
    assert [user["id"] for user in page["includes"]["users"]] == ["72"]
    assert [error["resource_id"] for error in page["errors"]] == ["loud", "never", "left"]


# What is refused


@pytest.mark.parametrize(
    "path, query, parameter, message",
    [
        ("/2/users/71/tweets", "max_results=4", "max_results", "value [4] is not between 5 and 100"),
        ("/2/users/71/tweets", "max_results=101", "max_results", "value [101] is not between 5 and 100"),
        ("/2/users/71/tweets", "max_results=ten", "max_results", "value [ten] is not between 5 and 100"),
        ("/2/users/71/tweets", "max_results=", "max_results", "can not be empty"),
        ("/2/users/71/tweets", "max_results=5&max_results=6", "max_results", "only be given once"),
        ("/2/users/anna/tweets", "", "id", "value [anna] does not match ^[0-9]{1,19}$"),
        ("/2/users/71/tweets", "since_id=12345678901234567890", "since_id", "does not match"),
        ("/2/users/71/tweets", "since_id=%D9%A1", "since_id", "does not match"),
        ("/2/users/71/tweets", "since_id=5&until_id=5", "until_id", "must be larger than"),
        ("/2/users/71/tweets", "start_time=2027-01-01", "start_time", "does not match"),
        ("/2/users/71/tweets", "start_time=%D9%A2027-01-01T00:00:00Z", "start_time", "does not match"),
        ("/2/users/71/tweets", "start_time=2027-02-30T00:00:00Z", "start_time", "2010-11-06"),
        ("/2/users/71/tweets", "start_time=2010-11-05T23:59:59Z", "start_time", "2010-11-06"),
        (
            "/2/users/71/tweets",
            "start_time=2027-01-02T00:00:00Z&end_time=2027-01-02T00:00:00Z",
            "end_time",
            "must be later",
        ),
        ("/2/users/71/tweets", "exclude=reposts", "exclude", "value [reposts] is not one of [replies,retweets]"),
        ("/2/users/71/tweets", "exclude=replies,replies", "exclude", "contains a value twice"),
        ("/2/users/71/tweets", "pagination_token=zzz", "pagination_token", "is not valid"),
        (
            "/2/users/71/tweets",
            "tweet.fields=text",
            "tweet.fields",
            "The query parameter [tweet.fields] is not one of [",
        ),
        ("/2/users/71/tweets", "post.fields=author_id", "post.fields", "value [author_id] is not one of [article,"),
        ("/2/users/71/tweets", "post.fields=in_reply_to_user_id", "post.fields", "value [in_reply_to_user_id] is not"),
        ("/2/users/71/tweets", "post.fields=referenced_posts", "post.fields", "value [referenced_posts] is not one of"),
        ("/2/users/71/tweets", "expansions=referenced_tweets.id", "expansions", "is not one of [article.cover_media,"),
        ("/2/users/71/tweets", "next_token=b", "next_token", "is not one of [id,max_results,pagination_token,"),
        ("/2/users/by", "", "usernames", "The `usernames` query parameter can not be empty"),
        ("/2/users/by", "usernames=anna,b-o", "usernames", "value [b-o] does not match ^[A-Za-z0-9_]{1,15}$"),
        ("/2/users/by", "usernames=" + ",".join(["a"] * 101), "usernames", "list [101] is not between 1 and 100"),
        ("/2/users/by/username/sixteen_letters_", "", "username", "does not match"),
        ("/2/users", "ids=71,", "ids", "value [] does not match"),
        ("/2/users", "ids=71&expansions=author_id", "expansions", "is not one of [affiliation,"),
        ("/2/tweets", "ids=1&max_results=10", "max_results", "is not one of [ids,post.fields,"),
        ("/2/usage/tweets", "days=91", "days", "value [91] is not between 1 and 90"),
    ],
)
def test_what_the_specification_does_not_know_is_refused(get, path, query, parameter, message):
    status, headers, body = get(f"{path}?{query}" if query else path)
    assert status == 400
    assert headers["content-type"] == "application/problem+json; charset=utf-8"
    assert body["title"] == "Invalid Request"
    assert body["type"] == "https://api.x.com/2/problems/invalid-request"
    (error,) = body["errors"]
    assert list(error["parameters"]) == [parameter]
    assert message in error["message"]


def test_all_that_is_wrong_is_said_at_once(get):
    _, _, body = get("/2/users/71/tweets?max_results=1&exclude=x&nonsense=1")
    assert [next(iter(error["parameters"])) for error in body["errors"]] == ["max_results", "exclude", "nonsense"]


def test_a_token_of_another_timeline_is_refused(x, get, timeline):
    anna(x, *(f"number {number}" for number in range(6)))
    token = timeline(max_results=5)["meta"]["next_token"]
    assert get("/2/users/72/tweets", pagination_token=token)[0] == 400


@pytest.mark.parametrize("token", [None, "", "wrong", f"{TOKEN} "])
def test_a_bad_token(x, get, token):
    status, headers, body = get("/2/users/71/tweets", token=token)
    assert status == 401
    assert body == {"title": "Unauthorized", "detail": "Unauthorized", "type": "about:blank", "status": 401}
    assert not [name for name in headers if name.startswith("x-rate-limit")]


def test_other_methods_paths_and_nameless_clients(get):
    assert get("/2/users/71/tweets", method="POST")[0] == 405
    assert get("/2/tweets", method="DELETE")[0] == 405
    assert get("/2/users/71/mentions")[::2] == (404, None)
    assert get("/1.1/users/show.json")[::2] == (404, None)
    assert get("/2/users/71/tweets", agent="")[0] == 403


# The vocabularies

NOTE = "The ferry is late again. " * 15


def test_the_legacy_vocabulary(x, timeline, get):
    x.do("options", vocabulary="legacy")
    original = x.do("post", author="BoSkarn", words=NOTE)
    anna(x, "Look:", quoted=original)
    assert get("/2/users/71/tweets", **{"post.fields": "text"})[0] == 400
    assert get("/2/users/71/tweets", expansions="referenced_posts")[0] == 400
    page = timeline(
        **{"tweet.fields": "note_tweet,public_metrics,author_id"},
        expansions="referenced_tweets.id,referenced_tweets.id.author_id",
    )
    (post,), (included,) = page["data"], page["includes"]["tweets"]
    assert post["referenced_tweets"] == [{"type": "quoted", "id": original}]
    assert post.keys() >= {"edit_history_tweet_ids", "author_id"}
    assert "retweet_count" in post["public_metrics"]
    assert included["note_tweet"]["text"] == NOTE
    assert page["includes"]["users"][0]["username"] == "BoSkarn"
    page = timeline(expansions="referenced_tweets.id.author_id")
    assert page["data"][0].keys() == {"id", "text", "edit_history_tweet_ids", "referenced_tweets"}
    assert page["includes"]["tweets"][0]["author_id"] == page["includes"]["users"][0]["id"] == "72"
    x.do("delete", post_id=original)
    (error,) = timeline(expansions="referenced_tweets.id")["errors"]
    assert (error["parameter"], error["resource_type"]) == ("referenced_tweets.id", "tweet")
    assert error["type"].startswith("https://api.twitter.com/")


def test_mixed_answers_have_words_of_both(x, timeline):
    x.do("options", vocabulary="mixed")
    original = x.do("post", author="BoSkarn", words=NOTE)
    anna(x, NOTE, quoted=original)
    for spelled in ({**EVERYTHING}, {"tweet.fields": "note_tweet", "expansions": "referenced_tweets.id"}):
        page = timeline(**spelled)
        assert page["data"][0].keys() >= {"note_tweet", "edit_history_tweet_ids", "referenced_posts"}
        assert page["includes"]["tweets"][0].keys() >= {"note_post", "edit_history_post_ids"}


def test_asked_answers_in_the_words_of_the_question(x, timeline):
    x.do("options", vocabulary="asked")
    original = x.do("post", author="BoSkarn", words=NOTE)
    anna(x, "Look:", quoted=original)
    assert "edit_history_tweet_ids" in timeline()["data"][0]
    assert "posts" in timeline(**EVERYTHING)["includes"]
    assert "tweets" in timeline(expansions="referenced_posts")["includes"]
    assert "author_id" in timeline(**{"post.fields": "author_id"})["data"][0]


def test_silent_servers_ignore_the_other_vocabulary(x, timeline, get):
    x.do("options", silent=True)
    original = x.do("post", author="BoSkarn", words="High tide.")
    anna(x, "Look:", quoted=original)
    page = timeline(**{"tweet.fields": "created_at"}, expansions="referenced_tweets.id")
    assert page["data"][0].keys() == {"id", "text", "edit_history_post_ids"}
    assert "includes" not in page
    assert get("/2/users/71/tweets", nonsense=1)[0] == 400
    assert get("/2/users/71/tweets", expansions="nonsense")[0] == 400


# Windows, the ledger, usage


def test_each_endpoint_has_a_window(x, get):
    x.do("options", limits={"/2/users/{id}/tweets": 3})
    seen = [get("/2/users/71/tweets?max_results=1") for _ in range(2)] + [get("/2/users/72/tweets") for _ in range(2)]
    assert [status for status, _, _ in seen] == [400, 400, 200, 429]
    assert [headers["x-rate-limit-remaining"] for _, headers, _ in seen] == ["2", "1", "0", "0"]
    _, headers, body = seen[3]
    assert body == {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}
    assert headers["x-rate-limit-limit"] == "3"
    assert int(headers["x-rate-limit-reset"]) == NOW.timestamp() + 900
    assert get("/2/users/by", usernames="anna")[1]["x-rate-limit-limit"] == "300"
    x.do("clock", now=at(14.9), frozen=True)
    assert get("/2/users/71/tweets")[0] == 429
    x.do("clock", now=at(15), frozen=True)
    assert get("/2/users/71/tweets")[0] == 200


def test_the_documented_limits(get):
    paths = {
        "/2/tweets?ids=1": "3500",
        "/2/usage/tweets": "50",
        "/2/users?ids=71": "300",
        "/2/users/by/username/anna": "300",
        "/2/users/71/tweets": "10000",
    }
    assert {path: get(path)[1]["x-rate-limit-limit"] for path in paths} == paths


def test_the_ledger_and_what_was_sold(x, get, timeline):
    original = x.do("post", author="BoSkarn", words="High tide.")
    (post_id,) = anna(x, "Look:", quoted=original)
    timeline(max_results=5, expansions="referenced_posts")
    timeline()
    get("/2/users/71/tweets", since_id=post_id)
    x.do("clock", now=at(13 * 60), frozen=True)
    timeline()
    get("/2/tweets", ids="x")
    get("/2/tweets", ids=post_id, token="wrong")
    assert [(entry["path"], entry["params"], entry["status"]) for entry in x.do("ledger")] == [
        ("/2/users/71/tweets", [["max_results", "5"], ["expansions", "referenced_posts"]], 200),
        ("/2/users/71/tweets", [], 200),
        ("/2/users/71/tweets", [["since_id", post_id]], 200),
        ("/2/users/71/tweets", [], 200),
        ("/2/tweets", [["ids", "x"]], 400),
        ("/2/tweets", [["ids", post_id]], 401),
    ]
    sold = x.do("sold")
    assert sold["raw"]["post"] == {"2027-01-15": [post_id, original, post_id], "2027-01-16": [post_id]}
    assert sold["once"]["post"] == {"2027-01-15": sorted([post_id, original]), "2027-01-16": [post_id]}
    assert "wrong" not in json.dumps(x.do("ledger"))
    assert x.token not in json.dumps(x.do("ledger"))
    usage = get("/2/usage/tweets")[2]["data"]
    assert usage == {
        "cap_reset_day": 1,
        "project_cap": "3000000",
        "project_id": usage["project_id"],
        "project_usage": "3",
    }
    usage = get("/2/usage/tweets", days=1, **{"usage.fields": "daily_project_usage"})[2]["data"]
    assert usage["daily_project_usage"]["usage"] == [{"date": "2027-01-16T00:00:00.000Z", "usage": "1"}]


# What goes wrong


@pytest.mark.parametrize(
    "kind, status, title, type_ends",
    [
        ("window", 429, "Too Many Requests", "about:blank"),
        ("usage_cap", 429, "UsageCapExceeded", "/usage-capped"),
        ("credits", 402, "CreditsDepleted", "/credits"),
        ("spend_cap", 403, "SpendCapReached", "/credits"),
        ("client_forbidden", 403, "Client Forbidden", "/client-forbidden"),
        ("unsupported_authentication", 403, "Unsupported Authentication", "/unsupported-authentication"),
        ("unauthorized", 401, "Unauthorized", "about:blank"),
        ("no_user", 404, "Not Found Error", "/resource-not-found"),
        ("500", 500, "Internal Server Error", "about:blank"),
        ("502", 502, "Bad Gateway", "about:blank"),
        ("503", 503, "Service Unavailable", "about:blank"),
    ],
)
def test_an_ordered_failure_comes_once(x, get, kind, status, title, type_ends):
    anna(x, "Low tide.")
    x.do("fail", kind=kind)
    failed, headers, body = get("/2/users/71/tweets")
    assert (failed, body["title"]) == (status, title)
    assert body["type"].endswith(type_ends)
    assert ("x-rate-limit-reset" in headers) == (status < 500 and status != 401)
    assert get("/2/users/71/tweets")[0] == 200
    assert [entry["failure"] for entry in x.do("ledger")] == [kind, ""]
    assert x.do("sold")["raw"]["post"] == {"2027-01-15": [x.do("posts")[0]["id"]]}


def test_failures_by_path_number_and_date(x, get):
    x.do("fail", kind="window", reset_in=30, path="/2/users/by", times=2, after=2)
    x.do("fail", kind="spend_cap", reset_date="2027-02-10", path="/2/users/71/.*", times=None)
    by = [get("/2/users/by", usernames="anna") for _ in range(5)]
    assert [status for status, _, _ in by] == [200, 200, 429, 429, 200]
    assert (by[2][1]["x-rate-limit-remaining"], int(by[2][1]["x-rate-limit-reset"])) == ("0", NOW.timestamp() + 30)
    assert get("/2/users/72/tweets")[0] == 200
    assert [get("/2/users/71/tweets")[2]["reset_date"] for _ in range(3)] == ["2027-02-10"] * 3
    assert x.do("heal") == 1
    assert get("/2/users/71/tweets")[0] == 200
    with pytest.raises(ValueError, match="no failure nonsense"):
        x.do("fail", kind="nonsense")


def raw(x, path="/2/users/71/tweets", **headers):
    """Ask on a connection of its own; the answer as it is, body unread."""
    connection = http.client.HTTPConnection("127.0.0.1", x.port, timeout=10)
    sent = {"authorization": f"Bearer {x.token}", "user-agent": "a test", "accept-encoding": "identity", **headers}
    connection.request("GET", path, headers=sent)
    return connection.getresponse()


def test_answers_that_are_not_the_api_s(x):
    for kind, status in (("html", 200), ("html_503", 503)):
        x.do("fail", kind=kind)
        answer = raw(x)
        assert (answer.status, answer.headers.get_content_type()) == (status, "text/html")
        assert answer.read().startswith(b"<!DOCTYPE html>")
    x.do("fail", kind="invalid_json")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(raw(x).read())
    x.do("fail", kind="other_shape", body='["tide"]')
    assert json.loads(raw(x).read()) == ["tide"]
    x.do("fail", kind="empty")
    assert raw(x).read() == b""


@pytest.mark.parametrize("kind", ["cut_body", "lying_length"])
def test_a_body_that_ends_early_was_sold_but_never_arrived(x, kind):
    (post_id,) = anna(x, "Low tide.")
    x.do("fail", kind=kind)
    with pytest.raises(http.client.IncompleteRead):
        raw(x).read()
    sold = x.do("sold")
    assert (sold["raw"]["post"], sold["lost"]["post"]) == ({}, {"2027-01-15": [post_id]})


@pytest.mark.parametrize("more", [-5, 5])
def test_a_length_may_lie_both_ways(x, more):
    anna(x, "Low tide.")
    length = int(raw(x).headers["content-length"])
    x.do("fail", kind="lying_length", more=more)
    assert int(raw(x).headers["content-length"]) == length + more


def test_a_connection_cut_in_the_header(x):
    anna(x, "Low tide.")
    x.do("fail", kind="cut_header")
    with pytest.raises(http.client.HTTPException):
        raw(x)
    assert x.do("sold")["lost"]["post"] == {}


def test_silence_and_slow_bytes(x):
    anna(x, "Low tide.")
    x.do("fail", kind="silent")
    connection = http.client.HTTPConnection("127.0.0.1", x.port, timeout=0.2)
    connection.request("GET", "/2/users/71/tweets")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    x.do("fail", kind="slow", rate=400)
    began = time.monotonic()
    length = len(raw(x).read())
    assert time.monotonic() - began >= length / 400 * 0.8
    assert x.do("sold")["lost"]["post"] == {}


def test_a_redirect_leads_on_for_ever_or_elsewhere(x):
    x.do("fail", kind="redirect")
    path = "/2/users/71/tweets"
    seen = []
    for _ in range(5):
        answer = raw(x, path)
        path = answer.headers["location"]
        seen.append((answer.status, path))
    assert len(set(seen)) == 5
    assert {status for status, _ in seen} == {302}
    x.do("fail", kind="redirect", to="http://127.0.0.1:9/elsewhere")
    assert raw(x).headers["location"] == "http://127.0.0.1:9/elsewhere"


def test_packed_answers(x):
    anna(x, "Low tide.")
    x.do("options", gzip=True)
    answer = raw(x, **{"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert b"Low tide." in gzip.decompress(answer.read())
    assert b"Low tide." in raw(x).read()


# The fake itself


def test_a_bug_of_its_own_fails_the_test_that_started_it():
    x = X()
    x.__enter__()
    x.do("options", limits="nonsense")
    assert raw(x).status == 500
    with pytest.raises(AssertionError, match="AttributeError"):
        x.__exit__(None, None, None)


def test_a_token_in_a_url_is_a_bug_and_not_repeated():
    x = X(token="very-secret-token")
    x.__enter__()
    raw(x, "/2/users/71/tweets?bearer=very-secret-token")
    assert "very-secret-token" not in json.dumps([x.do("ledger"), x.do("bugs")])
    with pytest.raises(AssertionError, match="the token is in a request"):
        x.__exit__(None, None, None)


def test_it_ends_with_whoever_started_it():
    command = [sys.executable, "-m", "tests.peers.x", "--port", "0", "--vocabulary", "legacy"]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert int(process.stdout.readline()) > 0
    process.communicate(timeout=5)
    assert process.returncode == 0


BITS = ["a", "é", "😀", " ", "&", "<b>", "@anna", "#tide", "$ABC", "\n", ".", "https://example.org/a?b&c", "x" * 90]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(BITS), max_size=40).map("".join))
def test_offsets_and_lengths_hold_for_any_text(x, timeline, words):
    (original,) = anna(x, words)
    anna(x, "", retweeted=original)
    for post in timeline(**EVERYTHING)["data"][:2]:
        whole = post.get("note_post", post)
        for part in (post, whole):
            for kind, mark in (("urls", "https://t.co/"), ("mentions", "@"), ("hashtags", "#"), ("cashtags", "$")):
                for entity in part.get("entities", {}).get(kind, []):
                    said = part["text"][entity["start"] : entity["end"]]
                    assert said == entity.get("url", mark + entity.get("username", entity.get("tag", "")))
        assert len(html_free(post["text"])) <= (140 if "referenced_posts" in post else 280)
        if "referenced_posts" not in post:
            shown = whole["text"]
            for url in whole.get("entities", {}).get("urls", []):
                shown = shown.replace(url["url"], url["expanded_url"].replace("&", "&amp;"))
            assert html_free(shown) == words


def html_free(text):
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


_WANTED = "attachments,created_at,entities"
_NEW_WORDS = {
    "post.fields": f"{_WANTED},note_post",
    "expansions": "referenced_posts,attachments.poll_ids",
}
_OLD_WORDS = {
    "tweet.fields": f"{_WANTED},note_tweet",
    "expansions": "referenced_tweets.id,attachments.poll_ids",
}


@pytest.mark.parametrize(
    ("vocabulary", "asked"),
    [
        ("new", _NEW_WORDS),
        ("asked", _NEW_WORDS),
        ("mixed", _OLD_WORDS),
        ("legacy", _OLD_WORDS),
        ("legacy", _OLD_WORDS | {"tweet.fields": f"{_WANTED},note_tweet,author_id,in_reply_to_user_id"}),
    ],
)
def test_a_random_life_is_read_as_it_was_lived_without_buying_users_or_media(process, timeline, vocabulary, asked):
    lived = set()
    for seed in range(4):
        life = Life(process, seed, NOW, vocabulary=vocabulary)
        life.live(steps=60)
        shown, read = life.shown(), {}
        for user, name in life.usernames().items():
            for page in walk(timeline, user=user, **asked)[1]:
                read |= {post.id: (name, post) for post in posts(page, Author(user, name))}
                for one in sightings(page, life.now, Author(user, name)):
                    assert re.fullmatch(rf"acct_{one.account_id}(_\d+)?", one.username)
        assert read.keys() == shown.keys()
        for post_id, (name, post) in read.items():
            told = shown[post_id]
            lived.add((told.kind, told.original_words is None))
            assert (post.kind, post.text, post.created_at) == (told.kind, told.words, told.at.replace(microsecond=0))
            assert (post.author, post.url) == (name, f"https://x.com/{name}/status/{post_id}")
            if told.original_words is not None:
                # The poll of an included post cannot be asked for.
                words = re.sub(r"\[poll: .*\]", "[poll]", told.original_words)
                assert post.original.id == told.original_first_id
                assert post.original.text in (told.original_words, words)
        assert process.do("sold")["raw"]["user"] == process.do("sold")["raw"]["media"] == {}
    assert lived == {(kind, True) for kind in ("post", "reply", "thread", "quote")} | {
        ("repost", False),
        ("quote", False),
    }


def test_the_same_seed_is_the_same_life(process):
    lives = []
    for seed in (1, 1, 2):
        life = Life(process, seed, NOW)
        life.live(steps=30)
        kinds = [life.order_failure() for _ in range(3)]
        lives.append((life.shown(), life.usernames(), kinds))
    assert lives[0] == lives[1]
    assert lives[0] != lives[2]
