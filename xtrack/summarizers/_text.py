"""Sentences, words and topics of posts, in any script."""

import re
import unicodedata
from bisect import bisect
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from operator import add

# In characters; in sentences of one post; in words.
_MAX_LINE = 240
_SHORT_POST = 160
_CONSIDERED = 5_000
_CONTEXT = 40
_MAX_SENTENCES = 40
_WHOLE_SENTENCE = 4

_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"

# Where unspaced scripts begin and, each after its beginning, end. Korean is one: it has spaces, but particles cling on.
_UNSPACED = (
    *(0x0E00, 0x0F00, 0x1000, 0x10A0, 0x1780, 0x1800, 0x3000, 0x3100),
    *(0x3400, 0xA000, 0xAC00, 0xD7B0, 0xF900, 0xFB00, 0x20000, 0x40000),
)


def _set(listing: str) -> frozenset[str]:
    return frozenset(listing.split())


_ABBREVIATIONS = _set("""
    approx ca capt cf col dr fig fmr gen gov hon jr lt mr mrs ms mt no nos nr pres prof rep rev sen sgt sr sra st vol vs
    jan feb mar apr jun jul aug sep sept oct nov dec
""")
_STOP_WORDS = _set("""
    a about after all also am an and any are as at be been but by can could d did do does for from had has have he her
    here his how i if in into is it its just ll m me more my of on or our out over re s she should so some such than
    that the their them then there these they this to up us ve was we were what when where which who will with would
    you your
""")

# A run of full stops can match at its start only: tried at each character, "....." would cost the square of its length.
_BOUNDARY = re.compile(
    rf"""\n
    | [。！？｡៕။]+[」』”’）)"]*[ ]?
    | (?<![.!?…؟۔।॥։។])[.!?…؟۔।॥։។]+["'”’»)\]]*[ ]
    | (?<=[{_SPACELESS}])[ ](?=[{_SPACELESS}])""",
    re.VERBOSE,
)
_INITIALS = re.compile(r"(?:[^\W\d]\.)*[^\W\d]")

_LINK = re.compile(r"(?:https?://|www\.)[!-~]+")
_LINK_OR_PLACEHOLDER = re.compile(rf"{_LINK.pattern}|\[(?:\w+|animated gif)\]")
# Of a post in a thread: `1/` or `(1/7)`. Without the brackets it could be half of something, or a date.
_NUMBER = r"\d+/|\(\d+/\d*\)"
_TAIL = re.compile(rf"{_LINK_OR_PLACEHOLDER.pattern}|[#＃]\S+|{_NUMBER}")
_REPLY_PREFIX = re.compile(r"(?:\s*[@＠]\w+)+\s+(?=\S)")
_PAIRS = (("“", "”"), ("«", "»"), ("「", "」"), ("『", "』"), ("(", ")"), ("（", "）"))
_BEFORE = re.compile(rf"{_LINK_OR_PLACEHOLDER.pattern}|[•·▪◦‣*–—-]|{_NUMBER}")
# The last line of a post that shows more than words: `[photo]`, `[poll: tea / coffee] [video]`.
_ATTACHED = re.compile(r"\[(?:photo|video|animated gif|media|poll)\b.*\]")
_HASHTAG = re.compile(r"[#＃]\w+")
_LETTER = re.compile(r"[^\W\d_]")
_SEEN = re.compile(r"(?<!\S)(?![#＃@])\S*[^\W_]\S*")
_INSIDE_NUMBER = re.compile(r"[.,:](?<=\d.)(?=\d)")


class _WordCharacters(dict[int, str | None]):
    """A table for str.translate, filled as characters are met: words stay, the invisible goes, the rest is a space.

    Marks stay because Thai, Arabic and Hindi words contain them; the variation selectors only shape emoji.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
            self[code] = None
        else:
            self[code] = character if category[0] in "LN" or category in ("Mn", "Mc") else " "
        return self[code]


_WORD_CHARACTERS = _WordCharacters()


def _spell_out(hashtag: re.Match[str]) -> str:
    """The words of a hashtag in CamelCase: `#ClimateChange` is ` Climate Change`, `#EUEnergy` is ` EU Energy`."""
    tag = hashtag[0][1:]
    starts = (
        character.isupper() and (before.islower() or (before.isupper() and after.islower()))
        for before, character, after in zip(" " + tag, tag, tag[1:] + " ", strict=False)
    )
    return " " + "".join(" " + character if start else character for character, start in zip(tag, starts, strict=True))


def words(text: str) -> list[str]:
    """The words of a text, casefolded; a run of an unspaced script is one. Links and `[photo]` have none."""
    text = _HASHTAG.sub(_spell_out, _LINK_OR_PLACEHOLDER.sub(" ", text[:_CONSIDERED]))
    text = unicodedata.normalize("NFKC", _INSIDE_NUMBER.sub("", text)).casefold().translate(_WORD_CHARACTERS)
    if text.isascii():
        return text.split()
    return ["".join(run) for word in text.split() for _, run in groupby(word, _is_unspaced)]


@cache
def _is_unspaced(character: str) -> bool:
    """Whether a character is of a script that does without spaces between words."""
    return bisect(_UNSPACED, ord(character)) % 2 == 1


def terms(text: str) -> Iterator[str]:
    """What a text is compared by: its words but for stop words; of an unspaced run the pairs of characters.

    Pairs stand in for words well enough to rank (as in Lucene's CJKBigramFilter), and need no dictionary.
    """
    for word in words(text):
        if _is_unspaced(word[0]):
            yield from map(add, word, word[1:]) if len(word) > 1 else word
        elif word not in _STOP_WORDS:
            yield word


def is_on(topic: str, text: str) -> bool:
    """Whether a text has all the words of a topic, or these run together as in a hashtag."""
    said = " ".join([*words(text), *("".join(words(tag)) for tag in _HASHTAG.findall(text[:_CONSIDERED]))])
    return any(patterns and all(pattern.search(said) for pattern in patterns) for patterns in _patterns(topic))


@cache
def _patterns(topic: str) -> list[list[re.Pattern[str]]]:
    needed = words(topic)
    return [[re.compile(_pattern(word)) for word in group if word] for group in (needed, ["".join(needed)])]


def _pattern(word: str) -> str:
    """A whole word with its English plural or singular, longer ones with an ending; of unspaced scripts any part."""
    if _is_unspaced(word[0]):
        return re.escape(word)
    forms = {word}
    if len(word) >= 3:
        forms |= {word + "s", word + "es", re.sub("y$", "ies", word)}
    if len(word) >= 4:
        forms |= {re.sub("s$", "", word), re.sub("es$", "", word), re.sub("ies$", "y", word)}
    if "news" in forms:  # is not the plural of "new"
        forms = {word}
    ending = r"\S{0,3}" if len(word) >= 6 else r"\S{0,2}" if len(word) >= 4 and not word.isascii() else ""
    return rf"(?<!\S)(?:{'|'.join(map(re.escape, sorted(forms)))}){ending}(?!\S)"


def count_words(text: str) -> int:
    """How many words a text has beside links, hashtags, mentions and placeholders; 0 when no letter is among them."""
    seen = _SEEN.findall(_LINK_OR_PLACEHOLDER.sub(" ", text))
    if not _LETTER.search(" ".join(seen)):
        return 0
    return len(seen) if text.isascii() else sum(1 + len(word) // 3 if _is_unspaced(word[0]) else 1 for word in seen)


def without_attached(text: str) -> str:
    """A text without the line that names the media and polls beside it, unless there is no other."""
    said, _, last = text.rpartition("\n")
    return said if said and _ATTACHED.fullmatch(last) else text


def split_end(text: str) -> tuple[str, str]:
    """A text before its last sentence, and this one without links and hashtags after it; it is "" if it is all."""
    head = _tidy(text[:_CONSIDERED])
    while len(parts := head.rsplit(maxsplit=1)) == 2 and _TAIL.fullmatch(parts[1]):
        head = parts[0]
    body = head[: max(_ends(head), default=0)]
    return (body, _trim(head[len(body) :])) if count_words(body) >= _WHOLE_SENTENCE else (text, "")


def sentences(text: str, is_reply: bool) -> list[str]:
    """The lines that a text offers: itself when it is short, else its sentences. Verbatim but for white space."""
    head = text[:_CONSIDERED]
    prefix = _REPLY_PREFIX.match(head)
    if prefix and (is_reply or not head[prefix.end()].islower()) and count_words(head[prefix.end() :]):
        head = head[prefix.end() :]
    head = _tidy(head)
    whole = _trim(head.replace("\n", " "))
    if len(whole) <= _SHORT_POST:
        return [whole] if whole else []
    spans = _spans(head)
    if len(text) > _CONSIDERED and len(spans) > 1:
        del spans[-1]
    lines = [_cut(_trim(head[start:end].replace("\n", " ").strip())) for start, end in spans[:_MAX_SENTENCES]]
    return [line for line in lines if count_words(line)] or [_cut(whole)]


def _tidy(text: str) -> str:
    """A text without blank lines and doubled spaces."""
    return "\n".join(line for line in (" ".join(line.split()) for line in text.splitlines()) if line)


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text are: a few words stay with what is beside them, a quotation stays together."""
    ends = _ends(text)
    spans: list[tuple[int, int]] = []
    counts: list[int] = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        count = count_words(text[start:end])
        joins = spans and (min(count, counts[-1]) < _WHOLE_SENTENCE or _is_open(text[slice(*spans[-1])]))
        if joins and end - spans[-1][0] <= _MAX_LINE:
            spans[-1] = spans[-1][0], end
            counts[-1] += count
        else:
            spans.append((start, end))
            counts.append(count)
    return spans


def _ends(text: str) -> list[int]:
    return [boundary.end() for boundary in _BOUNDARY.finditer(text) if _ends_sentence(text, boundary)]


def _is_open(text: str) -> bool:
    """Whether a quotation or bracket goes on."""
    return text.count('"') % 2 == 1 or any(text.count(opened) > text.count(closed) for opened, closed in _PAIRS)


def _ends_sentence(text: str, boundary: re.Match[str]) -> bool:
    """Whether a mark ends a sentence: not if the text goes on in lower case, nor after `are:`, `Dr.`, `U.S.`, `1.`"""
    before = text[max(0, boundary.start() - _CONTEXT) : boundary.start()]
    after = text[boundary.end() : boundary.end() + 1]
    goes_on = after.islower() and not _LINK.match(text, boundary.end())
    if boundary[0] == "\n":
        return not goes_on and before[-1] not in ":,"
    if goes_on or (boundary[0][-1] == " " and after in "-–—"):
        return False
    if boundary[0] != ". ":
        return True
    line = before.rpartition("\n")[2]
    word = line.rpartition(" ")[2].lstrip("([\"'“‘").casefold()
    return not (word in _ABBREVIATIONS or _INITIALS.fullmatch(word) or (word == line and word.isdecimal()))


def _trim(text: str) -> str:
    """A line without the links, bullets and `1/` before it, and the links, hashtags and `1/` after it, if words remain.

    One stays after a small word, which it completes: `protests in #Utrecht`.
    """
    parts = text.split(" ")
    start, end = 0, len(parts)
    while start < end and _BEFORE.fullmatch(parts[start]):
        start += 1
    while end > start and _TAIL.fullmatch(parts[end - 1]):
        end -= 1
    if start < end < len(parts) and _is_small(parts[end - 1]):
        end += 1
    trimmed = " ".join(parts[start:end])
    return trimmed if trimmed == text or count_words(trimmed) else text


def _is_small(word: str) -> bool:
    return word.casefold() in _STOP_WORDS or (len(word) <= 3 and word.isalpha() and word.islower())


def _cut(text: str) -> str:
    """A text of at most _MAX_LINE characters: cut after a word if it can be, never inside of a link or a character."""
    if len(text) <= _MAX_LINE:
        return text
    end = text.rfind(" ", 0, _MAX_LINE)
    if end < _MAX_LINE // 2:
        end = _MAX_LINE - 1
        while end > 1 and unicodedata.category(text[end])[0] == "M":
            end -= 1
    for link in _LINK.finditer(text):
        if 0 < link.start() < end < link.end():
            end = link.start()
    return text[:end].rstrip(" ,;:-–—") + "…"
