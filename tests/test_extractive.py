"""The digest without an LLM: what its lines say, which posts they stand for, and what holds for any posts."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xtrack.models import Digest, Original, Post, PostKind
from xtrack.summarizers import Brief
from xtrack.summarizers._text import sentences, words
from xtrack.summarizers.extractive import Extractive

START = datetime(2031, 5, 1, 6, 0, tzinfo=UTC)


def post(
    number: int, text: str, author: str = "mira", kind: PostKind = "post", original: str = "", lang: str = ""
) -> Post:
    shown = Original("9" + str(len(original)), "elsewhere", "Else Where", original, "https://x.com/i/status/9")
    return Post(
        id=str(100 + number),
        author=author,
        author_name=author.title(),
        created_at=START + timedelta(minutes=number),
        kind=kind,
        text=text,
        url=f"https://x.com/i/status/{100 + number}",
        lang=lang,
        original=shown if original else None,
    )


def posts_of(*texts: str) -> list[Post]:
    return [post(number, text) for number, text in enumerate(texts)]


def summarize(posts: Sequence[Post], *topics: str) -> Digest:
    return Extractive().summarize(posts, Brief(tuple(topics)))


def printed(text: str, kind: PostKind = "post") -> str:
    """The only line that a digest of one post has."""
    (line,) = summarize([post(1, text, kind=kind)]).lines
    return line.text


def normalised(text: str) -> str:
    return " ".join(text.split())


FILLER = " The harbour master of Lund will answer all the other questions about the old lighthouse on Monday morning."

NEWS = [
    "The ferry to Visby sails again after the storm.",
    "Parliament votes on the new budget for railways tonight.",
    "A wind farm off Gotland delivers its first power.",
    "Bakers in Turku strike for better wages.",
    "The museum of glass reopens with a show of lamps.",
    "Heavy rain closes the mountain road near Voss.",
    "Scientists count more eagles than ever on the coast.",
    "The orchestra plays a forgotten symphony by Berwald.",
    "Schools in Tampere get free lunches next year.",
]


# Sentences


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The council met with Dr. Lind and nine of her colleagues at noon.", "All of it went very well."),
        ("Nobody knew why the U.S. Congress and J. P. Holm would not vote.", "All of it went very well."),
        ("In Feb. 2031 prices were 3.5 percent higher, i.e. at 1.200 crowns.", "Nobody in the street knows why."),
        ("See https://example.org/a.b?c=d!e&f=1.5 for the list of streets.", "@ada says that all is well."),
        ("They waited for more than two hours... and then for the last bus…", "In the end it came at two."),
        ("“We found her on the roof.” - Ada Holm, the pilot of the fleet.", "The cat is doing fine again."),
        ("“We will rebuild every house,” said the mayor of Voss!", "#Voss will be glad to hear it."),
        ("Did you see the northern lights above Tromsø last night?!", "🎉 We did, from the old bridge."),
        ("(The pool is closed until Monday.)", "3 people had to be carried out of it."),
        ("工事のため、明日の朝から夕方まで、中央区の家で水が止まります。", "お客様は駅前の井戸をご利用ください！"),
        ("هل رأى أحد السفينة القديمة التي وصلت إلى الميناء مساء أمس؟", "نعم رأيتها من بيتنا القديم."),
        ("کراچی کی بندرگاہ پر آج بارش کی وجہ سے کام بند ہے۔", "کل صبح پھر کام شروع ہوگا۔"),
        ("कल से शहर के सभी स्कूल बंद रहेंगे।", "बच्चे घर पर ही पढ़ेंगे और खेलेंगे।"),
    ],
)
def test_a_long_text_is_split_where_its_sentences_end(first: str, second: str) -> None:
    lines = sentences(f"{first} {second}{FILLER}{FILLER}", is_reply=False)
    assert lines == [first, second, FILLER.strip(), FILLER.strip()]


def test_full_stops_of_chinese_and_japanese_need_no_space() -> None:
    first, second = "明日の朝から夕方まで、中央区の家で水が止まります。", "「お客様は駅前の井戸をご利用ください。」"
    assert sentences((first + second) * 4, is_reply=False) == [first, second] * 4


def test_a_fragment_stays_with_the_sentence_beside_it() -> None:
    assert sentences("Hear, hear." + FILLER + " So sad." + FILLER, is_reply=False) == [
        "Hear, hear." + FILLER + " So sad.",
        FILLER.strip(),
    ]


def test_a_short_post_is_one_line() -> None:
    assert printed("We sail.\n\nNot today, though: the storm!") == "We sail. Not today, though: the storm!"


def test_a_list_gives_its_items_without_their_bullets() -> None:
    items = ["The library opens at ten on Sundays", "The pool stays closed until the roof is mended"]
    text = "\n".join(["What the council decided last night", *(f"• {item}" for item in items)]) + "\n" + FILLER
    assert set(items) < set(sentences(text, is_reply=False))


def test_numbers_of_a_list_stay_with_their_items() -> None:
    lines = ["1. The library opens at ten on Sundays.", "2. The pool stays closed until the roof is mended."]
    assert sentences("\n".join([FILLER, *lines]), is_reply=False)[1:] == lines


def test_a_link_below_a_sentence_is_no_part_of_it() -> None:
    quotation = (
        "“The old bridge is as safe as ever. " + "Nobody over there has to worry about it at all, " * 3 + "really.”"
    )
    assert sentences(f"{quotation}\nhttps://example.org/{'x' * 150}", is_reply=False) == [quotation]


def test_only_the_beginning_of_a_very_long_post_is_considered_and_no_sentence_is_broken_there() -> None:
    lines = sentences(f"{FILLER[:-1]} or in the week after it." * 100, is_reply=False)
    assert len("".join(lines)) < 5_000
    assert all(line.endswith("week after it.") for line in lines)


def test_spaces_part_the_sentences_of_thai() -> None:
    first, second = "รถไฟสายใหม่จะเปิดให้บริการในวันจันทร์หน้า", "ผู้โดยสารทุกคนขึ้นฟรีตลอดทั้งเดือนแรก"
    assert sentences(" ".join([first, second] * 3), is_reply=False) == [first, second] * 3


def test_a_quotation_stays_in_one_piece() -> None:
    quotation = '"The bridge is safe. Nobody has to worry at all."'
    assert quotation in sentences(f"{quotation} {FILLER}{FILLER}", is_reply=False)


def test_a_line_break_inside_a_sentence_does_not_end_it() -> None:
    text = "The committee has chosen:\nHarbour Street and Mill Lane will be\nclosed for cars in summer." + FILLER
    assert sentences(text, is_reply=False)[0].endswith("closed for cars in summer.")


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("@ada @bo The lock works again", "reply", "The lock works again"),
        ("@ada is the best pilot of the fleet", "post", "@ada is the best pilot of the fleet"),
        ("The dam holds https://example.org/1 #dam #Voss [photo]", "post", "The dam holds"),
        ("Read https://example.org/1 before you go there", "post", "Read https://example.org/1 before you go there"),
        ("Strikers gather in #Turku #strike", "post", "Strikers gather in #Turku"),
        ("#dam #Voss https://example.org/1", "post", "#dam #Voss https://example.org/1"),
        ("@ada 🎉", "reply", "@ada 🎉"),
    ],
)
def test_what_frames_a_line_is_not_printed_if_words_remain(text: str, kind: PostKind, line: str) -> None:
    assert printed(text, kind) == line


@pytest.mark.parametrize(
    "text",
    [
        "A sentence that never ends " + "and goes on " * 40,
        "日本語の文章は空白がありませんので" * 30,
        "a" * 1000,
        "The list of all the harbours is found at " + "https://example.org/" + "x" * 400 + " and there only",
    ],
)
def test_a_long_sentence_is_cut(text: str) -> None:
    line = printed(text)
    assert len(line) <= 240
    assert line.endswith("…")
    assert normalised(text).startswith(line[:-1])


def test_a_cut_is_between_words_and_never_inside_a_link() -> None:
    assert printed("never " * 100)[:-1].split()[-1] == "never"
    assert printed("The list is at https://example.org/" + "x" * 400 + " and there only") == "The list is at…"


# Words


def test_words_of_several_scripts_keep_their_marks() -> None:
    assert words("L’été ΣΟΦΟΣ हिन्दी العَرَبِيّة") == ["l", "été", "σοφοσ", "हिन्दी", "العَرَبِيّة"]
    assert words("Ｆｅｒｒｙ 𝐟𝐞𝐫𝐫𝐲") == ["ferry", "ferry"]
    assert words("東京でAI会議 1,200円") == ["東京で", "ai", "会議", "1200", "円"]
    assert words("en\u200bergy ☀️ #ClimateChange #EUEnergy") == ["energy", "climate", "change", "eu", "energy"]


@pytest.mark.parametrize("attached", ["[photo]", "[photo] [animated gif]", "[poll: tea / coffee] [video]"])
def test_what_is_attached_is_no_part_of_a_line_if_words_remain(attached: str) -> None:
    for text in (NEWS[0], f"{NEWS[0]}{FILLER}{FILLER}", "Both.", "@ada 🎉", "https://example.org/1"):
        assert printed(f"{text}\n{attached}") == printed(text)
    assert attached.startswith(printed(attached))


def test_what_is_attached_does_not_tell_posts_apart_but_says_what_they_are_about() -> None:
    twice = [post(1, f"{NEWS[0]}\n[poll: tea / coffee]"), post(2, NEWS[0], "bo"), post(3, f"{NEWS[0]}\n[photo]", "cy")]
    assert [line.post_ids for line in summarize(twice).lines] == [("101", "102", "103")]
    assert [line.text for line in summarize(twice[:1], "coffee").lines] == [NEWS[0]]


def test_a_wordless_post_is_told_only_where_nothing_else_is() -> None:
    for label in ("[photo]", "[animated gif]"):
        assert [line.text for line in summarize(posts_of(label, NEWS[0])).lines] == [NEWS[0]]


# Which posts a line stands for


def test_reposts_of_one_original_are_one_line_that_cites_the_reposts() -> None:
    original = "The tunnel under the fjord opens on Friday, two years early. https://example.org/t"
    reposts = [post(n, "", f"reader{n}", "repost", original) for n in (4, 1, 3)]
    digest = summarize([*reposts, post(2, NEWS[0])])
    assert [(line.text, line.post_ids) for line in digest.lines] == [
        ("The tunnel under the fjord opens on Friday, two years early.", ("101", "103", "104")),
        (NEWS[0], ("102",)),
    ]


def test_reposts_of_a_long_original_are_one_line() -> None:
    original = f"{FILLER} Uncle Ove painted boats, clocks, bells, ropes, lamps and chairs in Lund for forty years."
    reposts = [post(n, "", f"reader{n}", "repost", original) for n in range(3)]
    assert [line.post_ids for line in summarize(reposts).lines] == [("100", "101", "102")]


def test_what_many_repost_is_told() -> None:
    reposts = [post(n, "", f"reader{n}", "repost", "Lunches get cheaper again.") for n in range(20, 28)]
    others = [post(n, f"{text} It was said on page{n}", f"a{n}") for n, text in enumerate(NEWS)]
    assert "Lunches get cheaper again." in [line.text for line in summarize([*others, *reposts]).lines]


def test_a_line_does_not_stand_for_what_only_the_rest_of_its_post_says() -> None:
    long = (
        "Uncle Ove painted boats, clocks, bells, ropes, lamps and chairs in Lund for forty years. " + NEWS[0] + FILLER
    )
    digest = summarize([post(1, long), post(2, NEWS[0].upper(), "bo")])
    assert all("ferry" in line.text.casefold() for line in digest.lines if "102" in line.post_ids)


def test_the_authors_own_post_is_cited_before_reposts_of_it() -> None:
    digest = summarize([post(1, "", "bo", "repost", NEWS[0]), post(2, NEWS[0], "ada")])
    assert digest.lines[0].post_ids == ("102", "101")


def test_a_truncated_copy_is_merged_into_the_whole() -> None:
    whole = post(2, "The tunnel under the fjord opens on Friday, two years early, says the road office in Bergen.")
    part = post(1, "The tunnel under the fjord opens on Friday, two years early, says the…", "bo")
    digest = summarize([part, whole])
    assert [line.post_ids for line in digest.lines] == [("102", "101")]
    assert digest.omitted == 0


@pytest.mark.parametrize(
    "other",
    [
        "Magnitude 5.4 quake near Voss at noon, harbour walls and many old houses damaged",
        "Magnitude 4.5 quake near Voss at noon, harbour walls and many old houses not damaged",
    ],
)
def test_other_numbers_and_negations_are_no_duplicate(other: str) -> None:
    one = "Magnitude 4.5 quake near Voss at noon, harbour walls and many old houses damaged"
    digest = summarize([post(1, one), post(2, other, "bo")])
    assert all(len(line.post_ids) == 1 for line in digest.lines)


def test_two_posts_do_not_say_the_same_sentence_twice() -> None:
    same = "The oldest lighthouse on the northern coast will be switched off for ever next Sunday evening."
    posts = [
        post(1, f"{same} I was there as a child with my grandfather, who painted boats and clocks all his life."),
        post(2, f"Sad news from the islands, dear friends of old towers and bells, of ropes and lamps! {same}", "bo"),
        *[post(n, text, f"a{n}") for n, text in enumerate(NEWS, start=3)],
    ]
    assert sum(line.text == same for line in summarize(posts).lines) == 1


def test_a_post_that_a_line_says_whole_is_not_omitted() -> None:
    line = "The oldest lighthouse on the northern coast will be switched off for ever next Sunday evening."
    posts = [
        post(1, f"{line} Uncle Ove painted its door, its clock, its boats, its bells, its ropes."),
        post(2, "Oldest lighthouse switched off", "bo"),
    ]
    digest = summarize(posts)
    assert [cited.post_ids for cited in digest.lines] == [("101", "102")]


def test_a_quote_gives_its_own_words() -> None:
    digest = summarize([post(1, "Good for the islands.", kind="quote", original=NEWS[0])])
    assert [line.text for line in digest.lines] == ["Good for the islands."]


def test_equal_posts_without_a_telling_word_are_merged() -> None:
    digest = summarize([post(1, "That is what it is"), post(2, "That is what it is", "bo"), post(3, NEWS[0])])
    assert [line.post_ids for line in digest.lines] == [("101", "102"), ("103",)]


# What is chosen


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_about_one_line_for_three_posts(count: int, lines: int) -> None:
    digest = summarize(posts_of(*NEWS[:count]))
    assert len(digest.lines) == lines
    assert digest.omitted == count - lines


def test_no_more_than_a_screen() -> None:
    digest = summarize(posts_of(*(f"Item{n} of list{n} was sold{n} by firm{n} today{n}" for n in range(200))))
    assert len(digest.lines) == 8
    assert digest.omitted == 192


@pytest.mark.parametrize("noise", ["https://example.org/1", "#rain #Voss", "🎉🎉", "[photo]", "@ada @bo", "12:30"])
def test_a_line_without_words_is_a_last_resort(noise: str) -> None:
    assert summarize([post(1, noise), post(2, NEWS[0])]).lines[0].text == NEWS[0]
    assert len(summarize([post(1, noise), post(2, NEWS[0])]).lines) == 1
    assert [line.text for line in summarize([post(1, noise)]).lines] == [noise]


def test_an_empty_post_has_no_line() -> None:
    digest = summarize([post(1, ""), post(2, " \n ")])
    assert (digest.lines, digest.omitted) == ((), 2)


@pytest.mark.parametrize(
    "dull",
    [
        "STORM EDDA CLOSES THE FERRY HARBOUR OF VISBY AND NOW THE BRIDGE TOO.",
        "Will you and your friends take the slow night ferry from Visby harbour to Nynäshamn town tomorrow evening?",
        "Storm Edda closes harbour, ferry, bridge, " + "and the road and the rails " * 8 + "of Visby.",
    ],
)
def test_shouts_questions_to_somebody_and_cut_sentences_come_last(dull: str) -> None:
    better = "Passengers of the ferry sleep in a school tonight, says the master of the oldest harbour of Gotland."
    assert printed(f"{dull} {better}") == better


def test_scraps_come_last() -> None:
    storm = [
        post(n, f"Storm Edda: roof{n} of house{n} in street{n} lost{n}, say{n} men{n}", f"a{n}") for n in range(12)
    ]
    scraps = [post(50 + n, "Storm Edda!", f"b{n}") for n in range(20)]
    assert "Storm Edda!" not in [line.text for line in summarize([*storm, *scraps]).lines]


def test_of_two_sentences_the_first_is_preferred() -> None:
    first = "Bakers in Turku strike for better wages in every bakery, market and mill of Finland."
    second = "Schools in Tampere get free lunches, apples, carrots, soup, bread or milk next year."
    assert printed(f"{first} {second}") == first


def test_a_reply_comes_after_a_post() -> None:
    posts = [post(n, f"@ada Word{n} of thing{n} is place{n}", kind="reply") for n in range(9)]
    own = [post(n, f"Word{n} of thing{n} is place{n}") for n in range(20, 23)]
    assert {line.post_ids[0] for line in summarize(posts + own).lines} >= {one.id for one in own}


def test_a_post_of_a_thread_is_told_like_any_other() -> None:
    replies = [post(n, f"@ada Word{n} of thing{n} is place{n}", f"a{n}", kind="reply") for n in range(9)]
    own = [post(n, f"Word{n} of thing{n} is place{n}", f"b{n}", kind="thread") for n in range(20, 23)]
    assert {line.post_ids[0] for line in summarize(replies + own).lines} >= {one.id for one in own}
    assert printed("@ada is the best pilot of the fleet", "thread") == "@ada is the best pilot of the fleet"


def test_what_many_quote_is_told() -> None:
    news = [post(n, f"Word{n} of thing{n} is place{n}", f"a{n}") for n in range(6)]
    lighthouse = post(20, "The lighthouse shines in green", "bo")
    quotes = [
        post(30 + n, f"Thought{n} and mood{n} again{n}", f"b{n}", "quote", "Lighthouse painted") for n in range(6)
    ]
    assert "120" in [line.post_ids[0] for line in summarize([*news, lighthouse, *quotes]).lines]


def test_the_days_theme_is_covered() -> None:
    storm = [
        "Storm Edda tears roofs off in Bergen",
        "Trains to Bergen stand still as storm Edda arrives",
        "Storm Edda leaves half of Bergen without power",
    ]
    others = ["My cat sleeps on a warm radiator", "Coffee tastes better in blue cups", "Who else loves old typewriters"]
    lines = summarize(posts_of(*others, *storm, *(text + " maybe" for text in others))).lines
    assert any("Edda" in line.text for line in lines)


def test_one_theme_does_not_fill_the_digest() -> None:
    storm = [f"Storm Edda hits Bergen harbour, ferry{n} and school{n} closed" for n in range(9)]
    lines = summarize(posts_of(*storm, *NEWS[1:7])).lines
    assert sum("Edda" in line.text for line in lines) < 3


def test_one_author_does_not_fill_the_digest() -> None:
    loud = [post(n, f"Item{n} of list{n} was sold{n} by firm{n} today{n}", "loud") for n in range(60)]
    calm = [post(60 + n, text, f"calm{n}") for n, text in enumerate(NEWS)]
    ids = {one.id: one.author for one in loud + calm}
    authors = Counter(ids[line.post_ids[0]] for line in summarize(loud + calm).lines)
    assert authors["loud"] == 2
    assert authors.total() == 8


def test_two_authors_fill_it_together() -> None:
    posts = [post(n, f"Item{n} of list{n} was sold{n} by firm{n} today{n}", f"author{n % 2}") for n in range(60)]
    assert len(summarize(posts).lines) == 8


def test_lines_are_in_the_order_of_time() -> None:
    texts = [f"Item{n} of list{n} was sold{n} by firm{n}" + " and by others" * (n % 4) for n in range(30)]
    cited = [line.post_ids[0] for line in summarize(posts_of(*texts, *NEWS)).lines]
    assert cited == sorted(cited)


# Topics


def test_lines_are_grouped_under_the_first_topic_that_matches() -> None:
    posts = posts_of(
        "Ports of the north want more energy from wind.",
        "The port of Turku gets a new crane.",
        "My cat sleeps.",
        "Energy gets cheaper in May.",
    )
    digest = summarize(posts, "energy", "ports")
    assert [(line.group, line.post_ids[0]) for line in digest.lines] == [
        ("energy", "100"),
        ("energy", "103"),
        ("ports", "101"),
    ]
    assert digest.headline == "3 of 4 new posts on energy, ports"
    assert digest.omitted == 0


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("climate change", "CHANGE comes: the climate conference starts"),
        ("climate change", "Read this #ClimateChange"),
        ("climate change", "Read this #climatechange"),
        ("#ClimateChange", "A change of the climate"),
        ("ports", "A port in winter"),
        ("city", "The cities of the north"),
        ("taxes", "A new tax on salt"),
        ("vaccine", "Vaccines arrive"),
        ("US", "What the U.S. and US firms want: US"),
        ("Ukraine", "Die Ukrainer wählen"),
        ("порт", "Стоят все порты севера"),
        ("地震", "昨夜の地震について"),
        ("รถไฟ", "นั่งรถไฟไปทำงาน"),
        ("निर्यात", "भारत का निर्यात बढ़ा"),
        ("café", "Un CAFÉ fermé"),
    ],
)
def test_a_topic_matches(topic: str, text: str) -> None:
    assert [line.group for line in summarize(posts_of(text, "Nothing to see"), topic).lines] == [topic]


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("port", "A portrait of a reporter on transport"),
        ("climate change", "The climate stays"),
        ("news", "A new boat"),
        ("wind", "The window is open"),
        ("地震", "昨夜の大雨について"),
        ("☀", "Any text"),
        ("energy", "https://example.org/energy"),
    ],
)
def test_a_topic_does_not_match(topic: str, text: str) -> None:
    digest = summarize(posts_of(text, "Nothing to see"), topic)
    assert digest == Digest("extractive", f"2 new posts, none of them on {topic}", (), 0)


def test_what_a_quote_quotes_tells_its_topic() -> None:
    digest = summarize([post(1, "At last, after all these years!", kind="quote", original=NEWS[2])], "wind farms")
    assert [line.text for line in digest.lines] == ["At last, after all these years!"]


def test_each_topic_gets_a_line_even_beyond_the_screen() -> None:
    topics = [f"topic{letter}{letter}" for letter in "abcdefghijklmno"]
    digest = summarize(posts_of(*(f"Words about {topic} here" for topic in topics for _ in range(3))), *topics)
    assert [line.group for line in digest.lines] == topics


def test_a_topic_shows_words_before_hashtags() -> None:
    posts = [post(n, "#ferry #visby #storm") for n in range(5)]
    assert [line.text for line in summarize([*posts, post(9, "Ferry again.")], "ferry").lines] == ["Ferry again."]


def test_lines_are_shared_among_the_topics() -> None:
    digest = summarize(
        posts_of(*(f"Ferry{n} {text} ferry" for n, text in enumerate(NEWS)), "Jam today"), "ferry", "jam"
    )
    assert [line.group for line in digest.lines] == ["ferry", "ferry", "ferry", "jam"]


def test_the_sentence_on_the_topic_is_preferred() -> None:
    text = "Uncle Ove has painted boats and clocks in Lund for forty long years now. His port wine is famous." + FILLER
    assert "port wine" in summarize(posts_of(text), "port").lines[0].text


# Headlines


@pytest.mark.parametrize(
    ("authors", "headline"),
    [
        (["ada"], "1 new post by @ada"),
        (["ada", "ada"], "2 new posts by @ada"),
        (["ada", "bo", "ada"], "3 new posts by 2 accounts"),
        ([""], "1 new post"),
        (["", ""], "2 new posts"),
        (["ada", ""], "2 new posts by @ada and others"),
        (["ada", "bo", ""], "3 new posts by 2 accounts and others"),
    ],
)
def test_the_headline_counts_posts_and_accounts(authors: list[str], headline: str) -> None:
    digest = summarize([post(n, NEWS[n], author) for n, author in enumerate(authors)])
    assert (digest.method, digest.headline) == ("extractive", headline)


@pytest.mark.parametrize(
    ("count", "topics", "headline"),
    [
        (1, ["tea"], "1 new post, not on tea"),
        (2, ["tea", "jam"], "2 new posts, none of them on tea or jam"),
        (2, ["tea", "jam", "salt"], "2 new posts, none of them on tea, jam or salt"),
    ],
)
def test_the_headline_says_when_nothing_is_on_the_topics(count: int, topics: list[str], headline: str) -> None:
    assert summarize(posts_of(*NEWS[:count]), *topics).headline == headline


# Any posts

phrases = st.sampled_from(
    [
        *NEWS,
        "Dr. Holm says no.",
        "明日は雨です。",
        "هل تمطر؟",
        "कल बारिश होगी।",
        "ฝนตก หนัก",
        "#WindPower",
        "@ada",
        "🎉",
        "...",
        "\n",
        "https://example.org/a.b",
        "“Not",
        "now”",
        "(",
        "3.5",
        "and the rain",
        "[photo]",
        "\u200b",
        "x" * 300,
        "\u0301",
    ]
)
texts = st.lists(phrases, max_size=14).map(" ".join) | st.text(max_size=400)
kinds: st.SearchStrategy[PostKind] = st.sampled_from(["post", "reply", "thread", "repost", "quote"])
any_posts = st.lists(
    st.builds(
        post,
        number=st.integers(0, 500),
        text=texts,
        author=st.sampled_from(["", "ada", "bo", "mira"]),
        kind=kinds,
        original=texts,
        lang=st.sampled_from(["", "en", "th"]),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda one: one.id,
)
any_topics = st.lists(st.sampled_from(["ferry", "wind power", "雨", "rain", "ฝน", "☀"]), unique=True, max_size=4)


@given(any_posts, any_topics)
def test_every_line_stands_in_the_post_that_it_cites(posts: list[Post], topics: list[str]) -> None:
    said = {
        one.id: normalised(one.original.text if one.kind == "repost" and one.original else one.text) for one in posts
    }
    for line in summarize(posts, *topics).lines:
        assert line.text.removesuffix("…") in said[line.post_ids[0]]
        assert line.text
        assert len(line.text) <= 240


@given(any_posts, any_topics)
def test_each_post_is_counted_once(posts: list[Post], topics: list[str]) -> None:
    digest = summarize(posts, *topics)
    ids = [post_id for line in digest.lines for post_id in line.post_ids]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= {one.id for one in posts}
    counted = len(ids) + digest.omitted
    if not topics:
        assert counted == len(posts)
    elif counted:
        assert digest.headline.startswith(f"{counted} of {len(posts)} new post")
    assert len(digest.lines) <= min(8, len(posts))
    assert {line.group for line in digest.lines} <= (set(topics) or {""})


@given(any_posts, any_topics, st.randoms(use_true_random=False))
def test_the_order_of_the_posts_changes_nothing(posts: list[Post], topics: list[str], random: Random) -> None:
    shuffled = random.sample(posts, len(posts))
    assert summarize(shuffled, *topics) == summarize(posts, *topics)


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(
        [".", "A. ", "@a ", "#Aa ", "“", "\u0301", "\u200b", " ", "\n", "😀", "https://x.y/", "ก ", "ﷺ", "a"]
    )
)
@example("lorem ipsum ")
def test_hostile_text_costs_little(piece: str) -> None:
    posts = [post(n, f"Post {n} " + piece * (1_000_000 // len(piece)) + "x") for n in range(10)]
    started = time.process_time()
    summarize(posts, "ferry")
    summarize(posts)
    assert time.process_time() - started < 1


def test_five_hundred_posts_cost_little() -> None:
    posts = posts_of(
        *(f"{NEWS[n % 9]} {NEWS[n % 7]} Item{n} of list{n % 50} was sold by firm{n % 20}." for n in range(500))
    )
    started = time.process_time()
    summarize(posts)
    assert time.process_time() - started < 1
