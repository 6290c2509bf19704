"""What people see of a message without leave to see more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.people.masking import difference, masked, plain
from tests.support.builders import a_settle_request, an_id_card, as_bytes

SECRETS = ["欧阳·测试", an_id_card(), "P-1", "V-1", "J00", "急性鼻咽炎", "13800138000", "阿莫西林胶囊"]


def test_a_bill_is_shown_without_the_person():
    bill = a_settle_request()
    bill["patient"]["phone"] = "13800138000"

    shown = masked(as_bytes(bill))

    assert [secret for secret in SECRETS if secret in shown] == []
    assert json.loads(shown)["settlement_no"] == "S-1"
    assert json.loads(shown)["fees"][0]["amount"] == "300.00"


@pytest.mark.parametrize(
    "message",
    [
        {"settlement_no": an_id_card()},
        {"settlement_no": "13800138000"},
        {"amount": "欧阳"},
        {"institution": {"patient": {"amount": "secret"}}},
        {"patient": "secret"},
        {"reason": "secret"},
        {"diagnoses": [{"code": "secret"}]},
        {"made_up": 110101199003071231},
        ["secret"],
        "secret",
    ],
)
def test_a_value_in_the_wrong_place_is_hidden(message):
    shown = masked(json.dumps(message).encode())

    for secret in ("secret", an_id_card(), "13800138000", "欧阳", "110101199003071231"):
        assert secret not in shown


@given(st.binary(max_size=512))
def test_rubbish_is_described_never_crashed_on(raw):
    assert masked(raw)
    plain(raw)
    assert difference(raw, raw) == ""


def test_bytes_that_are_no_json_are_not_repeated():
    assert "secret" not in masked(b"secret \xff")
    assert plain(b"secret \xff") == "secret \\xff"


def test_a_hidden_change_is_seen_as_a_change():
    before, after = a_settle_request(), a_settle_request()
    after["patient"] = {**after["patient"], "name": "别名"}

    changes = difference(as_bytes(before), as_bytes(after))

    lines = [line for line in changes.splitlines() if line[:1] in "+-" and '"name"' in line]
    assert len(lines) == 2
    assert "别名" not in changes
    assert "别名" in difference(as_bytes(before), as_bytes(after), hidden=False)
