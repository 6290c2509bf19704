"""Hostile XML is refused with a reason that quotes nothing; harmless XML has one reading."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.safe_xml import ATTRIBUTES_MAX, BYTES_MAX, NODES_MAX, parse_xml
from schemas.errors import InvalidMessage, Malformed

SECRET = "PATIENT-NAME"
HOSTILE = {
    "empty": b"",
    "not xml": b'{"a": 1}',
    "nul": b"<a>\x00</a>",
    "truncated": b"<a><b>",
    "two roots": b"<a/><b/>",
    "doctype": b"<!DOCTYPE a><a/>",
    "doctype after declaration": b'<?xml version="1.0"?>\n<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    "external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "parameter entity": b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><a/>',
    "billion laughs": b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>',
    "undeclared entity": b"<a>&nbsp;</a>",
    "comment in text": b"<a>100<!--x-->9</a>",
    "comment before root": b"<!-- x --><a/>",
    "comment hidden by cdata": b"<a><!-- <![CDATA[ --> <b/> <!-- ]]> --></a>",
    "instruction in text": b"<a>100<?x y?>9</a>",
    "stylesheet": b'<?xml version="1.0"?><?xml-stylesheet href="http://127.0.0.1:9/x"?><a/>',
    "instruction after root": b"<a/><?x?>",
    "instruction hidden by cdata": b"<a><?x <![CDATA[ ?><!DOCTYPE b>]]></a>",
    "utf-16": "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a><a/>".encode("utf-16"),
    "utf-16 without declaration": "<a>x</a>".encode("utf-16-le"),
    "gbk declared": "<?xml version='1.0' encoding='GBK'?><a>甲</a>".encode("gbk"),
    "latin-1 declared": b'<?xml version="1.0" encoding="iso-8859-1"?><a>x</a>',
    "wrong bytes": b"<a>\xff\xfe</a>",
    "lone surrogate": b"<a>\xed\xa0\x80</a>",
    "surrogate reference": b"<a>&#xD800;</a>",
    "nul reference": b"<a>&#0;</a>",
    "unbound prefix": b"<x:a/>",
    "duplicate attribute": b"<a b='1' b='2'/>",
    "deep": b"<a>" * 100_000 + b"</a>" * 100_000,
    "many nodes": b"<a>" + b"<b/>" * (NODES_MAX + 1) + b"</a>",
    "a million nodes": b"<a>" + b"<b/>" * 1_000_000 + b"</a>",
    "many attributes": b"<a %s/>" % b" ".join(b'a%d="1"' % each for each in range(ATTRIBUTES_MAX + 1)),
    "an ocean of attributes": b"<a %s/>" % b" ".join(b'a%d="1"' % each for each in range(200_000)),
    "many namespaces": b"<a %s/>" % b" ".join(b'xmlns:a%d="u"' % each for each in range(2_000)),
    "too large": b"<a>" + b"x" * BYTES_MAX + b"</a>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_xml_is_refused(kind):
    with pytest.raises(Malformed):
        parse_xml(HOSTILE[kind], party="P")


@pytest.mark.parametrize("raw", [f"<a>{SECRET}<b></a>", f"<{SECRET}></a>", f"<a {SECRET}=1/>", f"<a>&{SECRET};</a>"])
def test_a_refusal_quotes_nothing_of_the_message(raw):
    with pytest.raises(Malformed) as refusal:
        parse_xml(raw.encode(), party="P")

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"<a>1.00</a>", "1.00"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<a>1.00</a>\n', "1.00"),
        (b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><a>1.00</a>', "1.00"),
        (b"<a><![CDATA[<!-- 1 --> & <?x?>]]></a>", "<!-- 1 --> & <?x?>"),
        (b"<a>1<![CDATA[2]]>3</a>", "123"),
        (b"<a>&lt;!DOCTYPE&gt; &amp; &#x4E2D;</a>", "<!DOCTYPE> & 中"),
        ("<a>张伟·𠮷</a>".encode(), "张伟·𠮷"),
    ],
)
def test_harmless_xml_is_read_whole(raw, text):
    assert parse_xml(raw).text == text


def test_as_many_nodes_as_allowed_pass():
    assert len(parse_xml(b"<a>" + b"<b></b>" * (NODES_MAX - 1) + b"</a>")) == NODES_MAX - 1


@given(st.binary(max_size=2048))
def test_rubbish_is_refused_never_crashed_on(raw):
    with suppress(InvalidMessage):
        parse_xml(raw)


@given(st.text(alphabet="<>!?-[]&;ab/'\"= CDATxml", max_size=80))
def test_no_markup_smuggles_in_what_is_refused(text):
    with suppress(InvalidMessage):
        root = parse_xml(f"<a>{text}</a>".encode())
        assert all(type(node.tag) is str for node in root.iter())
        assert root.getroottree().docinfo.doctype == ""
