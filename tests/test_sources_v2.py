"""Posts of the X API v2, in both vocabularies and in the shapes in which people keep them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrack.errors import BadData
from xtrack.models import Sighting
from xtrack.sources._v2 import Author, posts, sightings

ANNA = {"id": "71", "username": "anna_hollin", "name": "Anna Hollin"}
BO = {"id": "72", "username": "BoSkarn", "name": "Bo & the <Gulls>"}
LEGACY = {
    "referenced_posts": "referenced_tweets",
    "note_post": "note_tweet",
    "edit_history_post_ids": "edit_history_tweet_ids",
    "posts": "tweets",
}


def make_post(number=1, text="Low tide at noon.", **fields):
    post_id = str(1800000000000000000 + number)
    return {"id": post_id, "text": text, "author_id": "71", "created_at": "2024-06-10T08:30:00.000Z", **fields}


def make_page(*data, **includes):
    return {"data": list(data), "includes": {"users": [ANNA, BO], **includes}, "meta": {"result_count": len(data)}}


def refer(kind, post):
    return {"referenced_posts": [{"type": kind, "id": post["id"]}]}


def link(short, target, **fields):
    return {"start": 0, "end": 23, "url": f"https://t.co/{short}", "expanded_url": target, **fields}


def urls(*links):
    return {"urls": list(links)}


def only(value, author=None):
    (post,) = posts(value, author)
    return post


def kinds(*data, author=None, **includes):
    return [post.kind for post in posts(make_page(*data, **includes), author)]


@pytest.fixture(params=["new", "legacy", "mixed"])
def spoken(request):
    """Puts a page into a vocabulary; the mixed one has the new words inside `data` only."""

    def say(value, old):
        if isinstance(value, list):
            return [say(item, old) for item in value]
        if isinstance(value, dict):
            return {
                LEGACY.get(key, key) if old else key: say(item, old or (key == "includes" and request.param == "mixed"))
                for key, item in value.items()
            }
        return value

    return lambda value: only(say(value, request.param == "legacy"))


def test_a_post():
    post = only(make_page(make_post(lang="en")))
    assert (post.kind, post.author, post.author_name, post.lang) == ("post", "anna_hollin", "Anna Hollin", "en")
    assert post.created_at == datetime(2024, 6, 10, 8, 30, tzinfo=UTC)
    assert post.text == "Low tide at noon."
    assert post.url == "https://x.com/anna_hollin/status/1800000000000000001"


def test_a_repost_has_the_whole_original(spoken):
    original = make_post(1, "Twelve boats went out &amp; twelve came back, says the harbour master.", author_id="72")
    repost = make_post(2, "RT @bo_before: Twelve boats went out &amp; tw…", **refer("retweeted", original))
    post = spoken(make_page(repost, posts=[original]))
    assert (post.kind, post.text) == ("repost", "")
    assert post.original.text == "Twelve boats went out & twelve came back, says the harbour master."
    assert (post.original.author, post.original.author_name) == ("BoSkarn", "Bo & the <Gulls>")
    assert post.original.url == f"https://x.com/BoSkarn/status/{original['id']}"


def test_a_repost_without_its_original_is_read_from_its_text():
    post = only(make_page(make_post(2, "RT @BoSkarn: Twelve boats\nwent…", **refer("retweeted", make_post(1)))))
    assert (post.original.author, post.original.author_name) == ("BoSkarn", "")
    assert post.original.text == "Twelve boats\nwent…"
    assert post.original.id == "1800000000000000001"


def test_a_repost_without_its_original_shows_no_link_to_its_media():
    original = make_post(1)
    entities = urls(link("m1", f"https://x.com/BoSkarn/status/{original['id']}/photo/1"))
    repost = make_post(2, "RT @BoSkarn: Fog https://t.co/m1", entities=entities, **refer("retweeted", original))
    assert only(repost).original.text == "Fog"


def test_a_repost_of_nothing_but_media_shows_no_link():
    original = make_post(1)
    entities = urls(link("m1", f"https://x.com/BoSkarn/status/{original['id']}/photo/1"))
    repost = make_post(2, "RT @BoSkarn: https://t.co/m1", entities=entities, **refer("retweeted", original))
    assert (only(repost).original.author, only(repost).original.text) == ("BoSkarn", "[media]")


def test_a_repost_that_tells_nothing_else_shows_what_it_says():
    assert only(make_post(2, "Fog!", **refer("retweeted", make_post(1)))).original.text == "Fog!"


def test_the_author_of_an_original_is_told_by_the_repost_where_users_are_not_included():
    original = make_post(1, "All of it.", author_id="999")
    repost = make_post(2, "RT @Far_Away: All…", **refer("retweeted", original))
    shown = only(make_page(repost, posts=[original])).original
    assert (shown.author, shown.text) == ("Far_Away", "All of it.")
    assert shown.url == "https://x.com/Far_Away/status/1800000000000000001"


def test_a_quote_has_its_own_words_and_the_original(spoken):
    original = make_post(1, "New timetable.", author_id="72")
    target = "https://twitter.com/BoSkarn/status/1800000000000000001"
    quote = make_post(2, "At last! https://t.co/q1", entities=urls(link("q1", target)), **refer("quoted", original))
    post = spoken(make_page(quote, posts=[original]))
    assert (post.kind, post.text) == ("quote", "At last!")
    assert (post.original.text, post.original.author) == ("New timetable.", "BoSkarn")


@pytest.mark.parametrize(
    ("target", "author"),
    [
        ("https://x.com/Far_Away/status/1800000000000000001?s=20", "Far_Away"),
        ("https://x.com/i/status/1800000000000000001", ""),
        ("https://twitter.com/i/web/status/1800000000000000001", ""),
    ],
)
def test_a_quote_of_what_is_not_included_still_names_it(target, author):
    quote = make_post(2, "Look https://t.co/q1", entities=urls(link("q1", target)), **refer("quoted", make_post(1)))
    post = only(make_page(quote))
    assert (post.text, post.original.author, post.original.text) == ("Look", author, "")
    assert post.original.url == f"https://x.com/{author or 'i'}/status/1800000000000000001"


def test_a_quote_without_words_may_have_a_picture():
    quote = make_post(2, "", attachments={"media": [{"type": "photo"}]}, **refer("quoted", make_post(1)))
    assert only(quote).text == "[photo]"
    assert only(make_post(2, "", **refer("quoted", make_post(1)))).text == ""


@pytest.mark.parametrize(
    ("account", "kind"), [("71", "thread"), ("72", "reply"), (71, "thread"), ("", "post"), (None, "post")]
)
def test_the_account_replied_to_tells_a_reply_from_a_thread(account, kind):
    assert only(make_post(3, "@BoSkarn hello", in_reply_to_user_id=account)).kind == kind


def test_the_post_replied_to_tells_a_reply_from_a_thread(spoken):
    own, other = make_post(1), make_post(2, author_id="72")
    for post, kind in ((own, "thread"), (other, "reply")):
        assert spoken(make_page(make_post(3, "Indeed.", **refer("replied_to", post)), posts=[own, other])).kind == kind
    replies = [
        make_post(4, "@BoSkarn so", **refer("replied_to", own)),
        make_post(5, "So.", **refer("replied_to", other)),
    ]
    assert kinds(*replies, own, other) == ["thread", "reply", "post", "post"]


def test_a_flattened_reply_has_the_authors_of_both_in_it():
    for author, kind in (({"username": "ANNA_hollin"}, "thread"), (BO, "reply"), ({"id": "71"}, "thread")):
        replied_to = {"type": "replied_to"} | make_post(1, author_id=None) | {"author": author}
        assert only(make_post(3, "@Far_Away yes", author=ANNA, referenced_tweets=[replied_to])).kind == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("And so on.", "thread"),
        ("@BoSkarn indeed", "reply"),
        ("@BoSkarn", "reply"),
        ("@anna_Hollin indeed", "thread"),
        ("@anna_Hollin @BoSkarn indeed", "reply"),
        ("@anna_before indeed", "thread"),
        ("@BoSkarn's boat", "thread"),
        ("@a_name_of_sixteen", "thread"),
        (".@BoSkarn has it", "thread"),
        ("", "thread"),
    ],
)
def test_a_leading_mention_tells_a_reply_where_nothing_else_does(text, kind):
    """The text that a note was cut off for has the mention, the note itself may have none."""
    mentions = {"mentions": [{"username": "anna_before", "id": "71"}, {"username": "BoSkarn", "id": "72"}, {}]}
    note = {"note_post": {"text": "It goes on."}}
    post = make_post(3, text, entities=mentions, **refer("replied_to", make_post(1)), **note)
    assert kinds(post) == [kind]
    del post["author_id"]
    assert kinds(post) == ["reply"]
    assert kinds(post, author=Author("71", "anna_hollin")) == [kind]


def test_a_reply_that_quotes():
    first, second = make_post(1), make_post(2)
    both = refer("replied_to", first)["referenced_posts"] + refer("quoted", second)["referenced_posts"]
    post = only(make_page(make_post(3, referenced_posts=both), posts=[first, second]))
    assert (post.kind, post.original.id) == ("quote", second["id"])


def test_a_note_is_the_text_and_brings_its_own_links(spoken):
    note = {"text": "All &lt;of&gt; it: https://t.co/n1", "entities": urls(link("n1", "https://town.example/plan"))}
    post = spoken(make_page(make_post(1, "All &lt;of&gt;… https://t.co/cut", note_post=note)))
    assert post.text == "All <of> it: https://town.example/plan"


def test_links_are_expanded_wherever_their_offsets_say_they_are():
    entities = urls(
        link("ab", "https://town.example/?a=1&copy=2"),
        link("abc", "https://sho.example/1", unwound_url="https://town.example/long"),
    )
    post = only(make_post(1, "🦀 &amp; https://t.co/abc,\nhttps://t.co/ab https://t.co/zz", entities=entities))
    assert post.text == "🦀 & https://town.example/long,\nhttps://town.example/?a=1&copy=2 https://t.co/zz"


@pytest.mark.parametrize(
    "target",
    [
        link("m1", "https://twitter.com/anna_hollin/status/1800000000000000001/photo/1"),
        link("m1", "https://x.com/anna_hollin/status/1799999999999999999/video/1"),
        link("m1", "https://x.com/BoSkarn/status/17/video/1", display_url="pic.x.com/m1"),
    ],
    ids=["own", "of an earlier edit", "somebody else's, embedded"],
)
def test_links_to_own_media_are_dropped(target):
    history = ["1799999999999999999", "1800000000000000001"]
    fields = {"entities": urls(target, target), "edit_history_post_ids": history}
    assert only(make_post(1, "Fog https://t.co/m1 over\n the  pier", **fields)).text == "Fog over\n the  pier"
    assert only(make_post(1, "https://t.co/m1", **fields)).text == "[media]"


def test_what_is_attached_is_named_beside_words(spoken):
    media, polls = (
        [{"media_key": "3_1", "type": "photo"}],
        [{"id": "5", "options": [{"label": "tea\n"}, {"label": "?"}]}],
    )
    attached = {"attachments": {"media_keys": ["3_1"]}}
    assert spoken(make_page(make_post(1, "Look at this", **attached), media=media)).text == "Look at this\n[photo]"
    asked = make_post(2, "What now?", attachments={"poll_ids": ["5"]})
    assert spoken(make_page(asked, polls=polls)).text == "What now?\n[poll: tea / ?]"
    original = make_post(1, "Look at this", author_id="72", **attached)
    quote = make_post(2, "Fog", attachments={"media_keys": ["7_1"]}, **refer("quoted", original))
    post = spoken(make_page(quote, posts=[original]))
    assert (post.text, post.original.text) == ("Fog\n[video]", "Look at this\n[photo]")


def test_what_stands_for_a_post_without_words():
    media = [{"media_key": "3_1", "type": "photo"}, {"media_key": "7_1", "type": "animated_gif"}]
    poll = {"id": "5", "options": [{"position": 1, "label": "tea &amp; milk"}, {"position": 2, "label": "coffee"}]}
    entities = urls(link("m1", "https://x.com/i/status/1800000000000000001/photo/1", display_url="pic.x.com/m1"))

    def words(**attachments):
        post = make_post(1, "https://t.co/m1", entities=entities, attachments=attachments)
        return only(make_page(post, media=media, polls=[poll])).text

    assert words(media_keys=["3_1"]) == "[photo]"
    assert words(media_keys=["3_1", "7_1", "3_1"]) == "[photo] [animated gif]"
    assert words(media_keys=["3_unknown", "13_2", "16_3"]) == "[photo] [video] [animated gif]"
    assert words(media_keys=["unknown", "99_1", 5]) == "[media]"
    assert words(poll_ids=["5"]) == "[poll: tea & milk / coffee]"
    assert words(poll_ids=["unknown"]) == "[poll]"
    assert words(media=[{"type": "video"}, {}]) == "[video] [media]"
    assert words(poll=poll, poll_ids=["unknown"]) == "[poll: tea & milk / coffee]"


def test_a_flattened_post_is_the_same_as_its_page():
    original = make_post(1, "The whole timetable.", author_id="72")
    repost = make_post(2, "RT @BoSkarn: The wh…", **refer("retweeted", original))
    flat = repost | {"author": ANNA, "referenced_tweets": [{"type": "retweeted"} | original | {"author": BO}]}
    del flat["referenced_posts"]
    assert posts(flat) == posts(make_page(repost, posts=[original]))


def test_a_bare_post_takes_its_time_from_its_id():
    post = only({"id": 1800000000000000001, "text": "Hello."})
    assert post.id == "1800000000000000001"
    assert post.created_at == datetime(2024, 6, 10, 3, 0, 17, 39000, tzinfo=UTC)
    assert (post.author, post.author_name) == ("", "")
    assert post.url == "https://x.com/i/status/1800000000000000001"


def test_an_id_from_before_snowflakes_holds_no_time():
    with pytest.raises(BadData, match="holds none"):
        posts({"id": "29700859246", "text": "Hello."})
    assert only({"id": "1234", "text": "Hello.", "created_at": "2009-05-04T22:50:14+02:00"}).created_at == datetime(
        2009, 5, 4, 20, 50, 14, tzinfo=UTC
    )


def test_whose_timeline_it_is_stands_for_an_author_that_is_not_told():
    bare = {"id": "1800000000000000001", "text": "Hello."}
    anna = Author("71", "anna_hollin", "Anna Hollin")
    post = only({"data": [bare]}, anna)
    assert (post.author, post.author_name) == ("anna_hollin", "Anna Hollin")
    assert post.url == "https://x.com/anna_hollin/status/1800000000000000001"
    assert only({"data": [bare | {"author_id": "71"}]}, anna).author == "anna_hollin"
    assert only({"data": [bare | {"author_id": "72"}]}, anna).author == ""
    renamed = {"id": "71", "username": "anna_now", "name": "A."}
    assert only({"data": [bare], "includes": {"users": [renamed]}}, anna).author == "anna_now"
    quote = bare | refer("quoted", make_post(2))
    included = {"posts": [make_post(2), make_post(3, author_id=None)]}
    assert only({"data": [quote], "includes": included}, anna).original.author == "anna_hollin"
    assert only({"data": [bare | refer("quoted", make_post(3))], "includes": included}, anna).original.author == ""


def test_a_timeline_tells_threads_without_any_author():
    first, second = (
        {"id": "11", "text": "One."},
        {"id": "12", "text": "@BoSkarn two.", **refer("replied_to", {"id": "11"})},
    )
    page = {"data": [first | {"created_at": "2024-06-10"}, second | {"created_at": "2024-06-10"}]}
    assert [post.kind for post in posts(page, Author("71", "anna_hollin"))] == ["post", "thread"]
    assert [post.kind for post in posts(page)] == ["post", "reply"]


NOON = datetime(2024, 6, 10, 12, tzinfo=UTC)


def mention(username, account_id="72"):
    return {"entities": {"mentions": [{"start": 0, "end": 5, "username": username, "id": account_id}]}}


def at(hour, number, **fields):
    return make_post(number, created_at=f"2024-06-10T{hour:02}:00:00Z", **fields)


def test_a_page_tells_names():
    older, newer = at(8, 1, **mention("Bo_before")), at(9, 2, **mention("BoSkarn"))
    seen = Sighting("72", "BoSkarn", NOON - timedelta(hours=3))
    for data, includes in (([newer, older], {}), ([older], {"posts": [newer]}), ([older], {"tweets": [newer]})):
        assert sightings({"data": data, "includes": includes}, NOON) == (seen,)
    assert sightings({"data": newer}, NOON) == (seen,)
    page = make_page(newer, at(10, 3, note_tweet={"text": "All of it.", **mention("third", "73")}))
    assert set(sightings(page, NOON)) == {
        Sighting("71", "anna_hollin", NOON),
        Sighting("72", "BoSkarn", NOON),
        Sighting("73", "third", NOON - timedelta(hours=2)),
    }


def media_link(target, **fields):
    return {"entities": urls(link("m1", target, **{"display_url": "pic.x.com/m1", **fields}))}


def test_links_to_own_media_tell_the_name_of_a_timelines_author():
    own = "https://x.com/anna_now/status/1800000000000000005/photo/1"
    seen = (Sighting("71", "anna_now", NOON - timedelta(hours=3)),)
    anna = Author("71", "anna_hollin")

    def told(author=anna, **fields):
        return sightings({"data": [at(9, 5, **fields)]}, NOON, author)

    assert told(**media_link(own)) == seen
    assert told(author=None, **media_link(own)) == ()
    assert told(author_id="72", **media_link(own)) == ()
    assert told(**media_link(own, display_url="x.com/anna_now/status/18…")) == ()
    assert told(**media_link(own.replace("5/photo", "4/photo"))) == ()
    assert told(**media_link(own.replace("anna_now", "i"))) == ()
    assert told(**media_link(own.replace("anna_now", "sixteen_letters_"))) == ()


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], "x", {"data": None}, {"data": 5}, {"data": ["x"], "includes": {"users": ["x", {}], "posts": 5}}),
        *(
            {"data": [make_post(1, **mention(*told))]}
            for told in ((None, "72"), ("a b", "72"), ("bo", None), ("bo", "x"))
        ),
        *({"data": [make_post(1, **mention("bo")) | odd]} for odd in ({"id": None}, {"id": "x"}, {"created_at": "x"})),
    ],
)
def test_what_tells_no_name_is_left_out(value):
    assert sightings(value, NOON, Author("71", "anna_hollin")) == ()


def test_the_id_is_the_first_of_the_edit_history(spoken):
    post = make_post(9, edit_history_post_ids=["1800000000000000009", "999999999999999999"])
    assert spoken(make_page(post)).id == "999999999999999999"


def test_versions_of_an_original_are_one_post():
    history = ["1800000000000000001", "1800000000000000002"]
    original = make_post(2, edit_history_tweet_ids=history)
    assert only(make_page(make_post(3, **refer("quoted", original)), tweets=[original])).original.id == history[0]


@pytest.mark.parametrize("post_id", [None, "", "12/../../evil", "１２", "-5", 1.5, True, [1], "1" * 20, "1\n"])
def test_an_id_that_cannot_be_one_is_refused(post_id):
    for value in (make_post() | {"id": post_id}, make_post(edit_history_post_ids=[post_id])):
        with pytest.raises(BadData, match="not the id of a post"):
            posts(value)


@pytest.mark.parametrize("handle", ["evil/status", "sixteen_letters_", "ünïcode", "a\n", None, 5])
def test_a_handle_that_cannot_be_one_is_unknown(handle):
    post = only(make_post() | {"author": {"username": handle, "name": "Who"}})
    assert (post.author, post.author_name) == ("", "Who")
    assert post.url == "https://x.com/i/status/1800000000000000001"


@pytest.mark.parametrize("stamp", ["", "Mon Jun 10 08:30:00 +0000 2024", 5, "0001-01-01T00:00:00+23:00"])
def test_a_time_that_cannot_be_one_is_refused(stamp):
    with pytest.raises(BadData, match="has no time"):
        posts(make_post() | {"created_at": stamp})


def test_nothing_reaches_the_terminal_but_text():
    post = only(
        make_post(
            1, "\x1b[31ma\tb\r\n\x9bc&#x202e;d\ud800 é👩‍👩‍👧", author={"name": "A\u2066\nB\x07", "username": "ab"}
        )
    )
    assert post.text == "[31ma b\ncd é👩‍👩‍👧"
    assert post.author_name == "A B"


def test_html_is_unescaped_once():
    assert only(make_post(1, "&amp;lt; is how to write &lt;")).text == "&lt; is how to write <"


@pytest.mark.parametrize("page", [{"errors": [{}]}, {"meta": {"result_count": 0}}, {"data": [], "errors": [{}]}])
def test_a_page_without_posts(page):
    assert posts(page) == ()


def test_a_page_of_one_with_errors_beside_it():
    assert len(posts({"data": make_post(), "errors": [{"title": "Forbidden"}]})) == 1


@pytest.mark.parametrize("value", [None, 5, "text", [], {}, {"data": ["x"]}, {"data": [{"id": "1"}]}, ANNA])
def test_what_is_no_post_is_refused(value):
    with pytest.raises(BadData, match="neither a post nor a page"):
        posts(value)


anything = st.recursive(
    st.sampled_from([None, True, 5, "", "5", "&amp;", "https://t.co/a1", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["urls", "url", "mentions", "id", "type", "text", "options", "label", "media", "x"]), inner
        )
    ),
    max_leaves=8,
)
fields = ["author", "author_id", "created_at", "lang", "entities", "attachments", "note_post", "note_tweet"]
fields += ["referenced_posts", "referenced_tweets", "edit_history_post_ids", "in_reply_to_user_id", "username"]


@given(
    st.dictionaries(st.sampled_from(fields), anything), st.dictionaries(st.sampled_from([*LEGACY, "users"]), anything)
)
def test_garbage_gives_posts_or_bad_data(garbage, includes):
    try:
        value = {"data": make_post() | garbage, "includes": includes}
        sightings(value, NOON, Author("71", "anna_hollin"))
        found = posts(value)
    except BadData:
        return
    json.dumps([post.text for post in found], ensure_ascii=False).encode()
