"""XML from strangers: its encoding, and what has to be known before a parser may see it."""

import codecs
import re

from xtrack.errors import BadData, Temporary

# Byte order marks, and how a declaration begins without one; the longer ones first.
_BEGINNINGS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"<\x00?\x00", "utf-16-le"),
    (b"\x00<\x00?", "utf-16-be"),
)
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)
# Of Python's codecs those that text is kept in: some others hide tags (utf-7) or take quadratic time (punycode).
_TEXT_CODECS = re.compile(
    "ascii|utf.?(?:8|16|32)|iso|latin|windows|cp|koi8|mac|big5|gb|euc|shift|johab|hz|tis|viscii", re.IGNORECASE
)
# Whoever says the one mostly means the other, which has all of it (encoding.spec.whatwg.org, "Names and labels").
_MEANT = {"ascii": "utf-8", "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
# xml.sax takes time by the square of their number.
_ATTRIBUTES = 100


def decoded(data: bytes, content_type: str) -> str:
    """The text, by its byte order mark, by HTTP's charset, by its own declaration, in this order (RFC 7303, section 3).

    One that fits nothing is read as what is most common, with what is wrong in it replaced.
    """
    for beginning, codec in _BEGINNINGS:
        if data.startswith(beginning):
            return data.decode(codec, "replace").removeprefix("\ufeff")
    charset, declared = _CHARSET.search(content_type), _DECLARED.match(data)
    for name in (charset[1] if charset else "", declared[1].decode("ascii", "replace") if declared else "", "utf-8"):
        try:
            codec = codecs.lookup(name).name
            if _TEXT_CODECS.match(codec):
                return data.decode(_MEANT.get(codec, codec))
        except (LookupError, ValueError):
            continue
    return data.decode("cp1252", "replace")


def flaw(document: bytes, what: str) -> str:
    """What keeps a document in UTF-8 from being XML, with its line; "" when nothing does.

    Raises BadData for one that declares entities, which can expand without end or name files, or has very many
    attributes, and Temporary for one that is cut off. `what` is how errors call it.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate("utf-8")
    root = ""

    def declares(*_: object) -> None:
        raise BadData(f"{what} declares XML entities, which no feed needs and some attacks do")

    def refuse_entities(prolog: bytes) -> None:
        if b"<!ENTITY" in prolog.upper():
            declares()

    def begins(name: str, attributes: list[str]) -> None:
        nonlocal root
        if len(attributes) > 2 * _ATTRIBUTES:
            raise BadData(f"{what} has an element with more than {_ATTRIBUTES} attributes")
        if root:
            return
        root = name
        # feedparser looks for them before the first of these, which can be later.
        first = re.search(rb"<\w", document)
        refuse_entities(document[: max(parser.CurrentByteIndex, first.start() if first else 0)])

    parser.ordered_attributes = True  # a list of names and values
    parser.StartElementHandler, parser.EntityDeclHandler = begins, declares
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        if not root:
            refuse_entities(document)
        elif f"</{root}".encode() not in document:
            raise Temporary(f"{what} is cut off in line {error.lineno}") from None
        return f"line {error.lineno}: {expat.ErrorString(error.code)}"
    return ""
