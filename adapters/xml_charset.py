"""Foreign XML in the encodings that Chinese systems really use, brought to UTF-8 before the one parser sees it.

The header and the XML itself may both name an encoding: they must mean the same one. UTF-8 and the GBK family are
known, anything else is refused; nothing is guessed from the bytes.
"""

from __future__ import annotations

import re

from lxml import etree

from adapters.safe_xml import parse_xml
from schemas.errors import Malformed

_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[ \t\r\n][^>]*\?>")
_ENCODING = re.compile(rb"encoding[ \t\r\n]*=[ \t\r\n]*[\"']([A-Za-z0-9._-]*)[\"']")
_CHARSET = re.compile(r"charset[ \t]*=[ \t]*\"?([A-Za-z0-9._-]+)", re.IGNORECASE)
_PLAIN_DECLARATION = b'<?xml version="1.0"?>'
# GB 18030 contains GBK, which contains GB 2312: one decoder reads all three.
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
}


def in_utf8(raw: bytes, content_type: str = "", *, party: str = "") -> bytes:
    """The same document in UTF-8; Malformed for an unknown encoding, for two that differ, for bytes that break it."""
    declaration = _DECLARATION.match(raw)
    named = _CHARSET.search(content_type)
    codecs = {_codec(name, party) for name in (named[1] if named else "", _declared(declaration)) if name}
    if len(codecs) > 1:
        raise Malformed("header and XML name different encodings", code="xml.encoding", party=party)
    if codecs <= {"utf-8"}:
        return raw
    return _redeclared(_decoded(raw, codecs.pop(), party).encode())


def inner_xml(text: str, *, party: str = "") -> etree._Element:
    """The XML document inside a string of another one.

    The message around it was decoded already, so an encoding that it still declares has no say; it must be a known one.
    """
    try:
        raw = text.strip("\ufeff \t\r\n").encode()
    except UnicodeEncodeError:
        raise Malformed("the inner XML holds half a character", code="xml.encoding", party=party) from None
    name = _declared(_DECLARATION.match(raw))
    if name:
        _codec(name, party)
    return parse_xml(_redeclared(raw), party=party)


def _declared(declaration: re.Match[bytes] | None) -> str:
    found = _ENCODING.search(declaration[0]) if declaration is not None else None
    return found[1].decode("ascii") if found is not None else ""


def _codec(name: str, party: str) -> str:
    try:
        return _CODECS[name.lower()]
    except KeyError:
        raise Malformed("an encoding that is neither UTF-8 nor GBK", code="xml.encoding", party=party) from None


def _decoded(raw: bytes, codec: str, party: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        raise Malformed("bytes that break the declared encoding", code="xml.encoding", party=party) from None


def _redeclared(raw: bytes) -> bytes:
    """With a declaration that names no encoding in the place of its own, so that a second one is still seen as such."""
    return _DECLARATION.sub(_PLAIN_DECLARATION, raw, count=1) if _DECLARATION.match(raw) else raw
