"""Reading off from stored bytes which fields left, whatever the dialect wraps them in."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hub.sent import UNREADABLE, SentField, fields_of, sent_messages
from store.exchanges import Exchange


def paths(body: bytes) -> list[str]:
    return [field.path for field in fields_of(body)]


def test_fields_of_json_with_lists_and_without_what_is_empty():
    body = b'{"a":{"b":"x","none":null,"empty":""},"list":[{"c":1},{"c":2}]}'

    assert fields_of(body) == [SentField("a.b", "x"), SentField("list[].c", "1"), SentField("list[].c", "2")]


def test_a_message_inside_of_a_message_is_looked_into():
    inner = "<?xml version='1.0' encoding='GBK'?><body><name>甲</name></body>"
    body = f'<e:Envelope xmlns:e="urn:x"><root v="1"><![CDATA[{inner}]]></root></e:Envelope>'.encode()
    wrapped = base64.b64encode(b'{"certno":"1"}').decode()

    assert paths(body) == ["Envelope.root@v", "Envelope.root.body.name"]
    assert paths(f'{{"input":"{wrapped}"}}'.encode()) == ["input.certno"]


def test_what_nobody_can_read_is_said_to_be_so():
    assert fields_of(b"\x00\x01 ciphertext") == [SentField(UNREADABLE, "13 bytes")]
    assert fields_of(b"") == []


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_said_to_be_unreadable(body):
    assert bool(fields_of(body)) == bool(body)


def an_exchange(**changes):
    values = {
        "region": "440300",
        "case_id": "C-1",
        "leg_no": 1,
        "party": "ANKANG",
        "direction": "out",
        "operation": "settle",
        "request_id": "R-1",
        "attempt": 1,
        "body": b'{"a":1,"b":[2,3]}',
        "at": datetime(2026, 3, 2, tzinfo=UTC),
    }
    return Exchange(**values | changes)


def test_only_what_left_for_payers_counts():
    told = [an_exchange(), an_exchange(leg_no=0, party="H1"), an_exchange(direction="in"), an_exchange(party="HENGAN")]

    assert [one.payer for one in sent_messages(told, [])] == ["ANKANG", "HENGAN"]
    [one] = sent_messages(told, [], "HENGAN")
    assert one.names() == {"a": 1, "b[]": 2}
