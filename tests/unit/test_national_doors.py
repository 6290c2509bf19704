"""Who may speak the national envelope: a table of what is let in, and of everything that is not."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import sm2, sm4
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning, Signing, Unsigned
from hub.gateway.identity import Doorkeeper, NotIdentified, PartyShutOut, token_for
from hub.gateway.national.clearing import rows_of
from hub.gateway.national.doors import Entered, KeysMissing, NationalDoor
from hub.gateway.national.endpoint import read_call
from hub.gateway.national.table import HANDLERS
from hub.gateway.national.words import Spoken, refusal_text
from routing.rulebook import Institution
from schemas.errors import HubError, InvalidMessage
from schemas.national.envelope import dump_json, read_json
from schemas.national.transactions import EXCHANGES
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, REGION
from tests.support.national_his import CHINA, NationalHis, an_outpatient

SECRET = "a secret of thirty-two characters"
THEIRS, OURS = sm2.new_key(), sm2.new_key()
SM4_KEY = bytes(range(16))
KEYS = {
    "own_private_key": OURS.secret.hex(),
    "their_public_key": THEIRS.public.encoded.hex(),
    "sm4_key": SM4_KEY.hex(),
    "gateway_id": "G-1",
    "gateway_secret": SECRET,
}
TOKEN = {"authorization": f"Bearer {token_for(SECRET, HOSPITAL)}"}
OTHER_TOKEN = {"authorization": f"Bearer {token_for(SECRET, OTHER_HOSPITAL)}"}
DIALECTS: dict[str, Signing] = {
    "none": Unsigned(),
    "envelope": EnvelopeSigning(THEIRS, OURS.public),
    "body": BodySigning(THEIRS, OURS.public, SM4_KEY),
    "gateway": GatewaySigning("G-1", SECRET, clock=time.time),
}


def now() -> datetime:
    """Asked anew by each test: signed messages are good for some minutes, and a run takes longer."""
    return datetime.now(UTC)


class Doors:
    """Nobody's door is shut but that of `shut`."""

    def __init__(self, shut: str = "") -> None:
        self._shut = shut

    def generation_of(self, _party: str) -> int:
        return 0

    def is_shut(self, party: str) -> bool:
        return party == self._shut


class Door(NationalDoor):
    """Remembers nonces in this process."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seen: set[str] = set()

    def _first_time(self, institution: Institution, nonce: str) -> bool:
        fresh = nonce not in self._seen
        self._seen.add(nonce)
        return fresh


def a_door(signing: str = "none", *, shut: str = "", keys: Mapping[str, str] = KEYS, **profile: str) -> Door:
    national = {"signing": signing, **profile}
    known = {
        HOSPITAL: Institution.model_validate({"code": HOSPITAL, "name": "n", "region": REGION, "national": national}),
        OTHER_HOSPITAL: Institution(code=OTHER_HOSPITAL, name="n", region=REGION),
    }
    books = SimpleNamespace(active=lambda: SimpleNamespace(book=SimpleNamespace(institution_by_code=known)))
    return Door(Doorkeeper(SECRET, doors=Doors(shut)), books, {HOSPITAL: dict(keys)}, None)


def an_envelope(**changes: Any) -> dict[str, Any]:
    return NationalHis(0).envelope("2201", {"data": an_outpatient()}) | changes


def signed(signing: str, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    envelope, headers = DIALECTS[signing].sign(an_envelope(**changes))
    return read_json(dump_json(envelope)), headers | (TOKEN if signing in ("none", "body") else {})


@pytest.mark.parametrize("signing", DIALECTS)
def test_each_dialect_lets_its_sender_in_and_answers_in_kind(signing):
    envelope, headers = signed(signing)

    entered = a_door(signing).enter(envelope, headers, now())
    answer, told = entered.seal({"infcode": 0, "output": {"data": {"mdtrt_id": "1"}}})

    assert entered.institution.code == HOSPITAL
    assert entered.envelope["input"] == {"data": an_outpatient()}
    checking = DIALECTS[signing]
    if isinstance(checking, GatewaySigning):
        checking = replace(checking, fresh_nonce=lambda _: True)
    opened = checking.verify(read_json(dump_json(answer)), told, "output")
    assert opened["output"] == {"data": {"mdtrt_id": "1"}}


def stripped(envelope: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in envelope.items() if name not in ("cainfo", "signtype")}


def tampered(envelope: dict[str, Any]) -> dict[str, Any]:
    return {**envelope, "opter": "9999", "input": {"data": {}}}


@pytest.mark.parametrize("signing", ["envelope", "body", "gateway"])
@pytest.mark.parametrize("spoil", [stripped, tampered])
def test_a_signature_that_is_missing_or_about_something_else_proves_nobody(signing, spoil):
    envelope, headers = signed(signing)

    with pytest.raises(NotIdentified):
        a_door(signing).enter(spoil(envelope), headers, now())


@pytest.mark.parametrize(
    ("signing", "headers", "refusal"),
    [
        ("none", {}, NotIdentified),
        ("none", {"authorization": "Bearer x.y"}, NotIdentified),
        ("none", {"x-party": HOSPITAL}, NotIdentified),
        ("none", OTHER_TOKEN, InvalidMessage),
        ("body", {}, NotIdentified),
        ("body", OTHER_TOKEN, InvalidMessage),
        ("envelope", OTHER_TOKEN, InvalidMessage),
        ("envelope", {"authorization": "Bearer x.y"}, NotIdentified),
        ("gateway", {}, NotIdentified),
    ],
)
def test_a_missing_or_foreign_token_is_refused(signing, headers, refusal):
    envelope, _ = signed(signing)

    with pytest.raises(refusal):
        a_door(signing).enter(envelope, headers, now())


def test_a_token_does_not_stand_in_for_a_signature():
    with pytest.raises(NotIdentified):
        a_door("envelope").enter(an_envelope(), TOKEN, now())


@pytest.mark.parametrize("signing", DIALECTS)
def test_a_party_that_operators_shut_out_stays_out(signing):
    envelope, headers = signed(signing)

    with pytest.raises(PartyShutOut):
        a_door(signing, shut=HOSPITAL).enter(envelope, headers, now())


@pytest.mark.parametrize("signing", ["envelope", "body", "gateway"])
@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signed_envelope_is_good_for_minutes(signing, minutes):
    then = f"{(now() + timedelta(minutes=minutes)).astimezone(CHINA):%Y-%m-%d %H:%M:%S}"
    envelope, headers = signed(signing, inf_time=then)

    with pytest.raises(HubError):
        a_door(signing).enter(envelope, headers, now() + timedelta(minutes=minutes if signing == "gateway" else 0))


def test_a_nonce_is_good_once():
    door = a_door("gateway")
    envelope, headers = signed("gateway")
    door.enter(envelope, headers, now())

    with pytest.raises(NotIdentified):
        door.enter(envelope, headers, now())


def test_a_stranger_and_a_broken_number_are_told_the_same():
    for code in ("H99999999999", None, 7, ["H"]):
        with pytest.raises(NotIdentified):
            a_door().enter(an_envelope(fixmedins_code=code), {}, now())


@pytest.mark.parametrize("keys", [{}, {**KEYS, "their_public_key": "00"}, {**KEYS, "own_private_key": "zz"}])
def test_keys_that_are_missing_are_our_fault_and_said_so(keys):
    envelope, headers = signed("envelope")

    with pytest.raises(KeysMissing):
        a_door("envelope", keys=keys).enter(envelope, headers, now())


def test_without_a_key_of_ours_answers_go_out_unsigned():
    envelope, headers = signed("envelope")
    entered = a_door("envelope", keys={"their_public_key": KEYS["their_public_key"]}).enter(envelope, headers, now())

    assert entered.seal({"infcode": 0}) == ({"infcode": 0}, {})


@pytest.mark.parametrize("mode", sm4.Mode)
def test_an_encrypted_input_is_opened_and_answered_alike(mode):
    sealed = base64.b64encode(sm4.encrypt(SM4_KEY, dump_json({"data": an_outpatient()}), mode)).decode()
    entered = a_door(encryption=mode.value).enter(an_envelope(input=sealed, enc_type="SM4"), TOKEN, now())

    answer, _ = entered.seal({"infcode": 0, "output": {"a": 1}})

    assert entered.envelope["input"] == {"data": an_outpatient()}
    assert answer["enc_type"] == "SM4"
    assert read_json(sm4.decrypt(SM4_KEY, base64.b64decode(answer["output"]), mode)) == {"a": 1}


@pytest.mark.parametrize(
    ("profile", "given", "field"),
    [
        ({}, "AAAA", "enc_type"),
        ({"encryption": "ecb"}, "not Base64", "input"),
        ({"encryption": "ecb"}, "AAAA", "input"),
        ({"encryption": "gcm"}, base64.b64encode(bytes(64)).decode(), "input"),
        ({"encryption": "ecb"}, base64.b64encode(sm4.encrypt(SM4_KEY, b"[1]")).decode(), "input"),
        ({"encryption": "ecb"}, {"data": {}}, "input"),
    ],
)
def test_what_cannot_be_decrypted_is_refused_by_field(profile, given, field):
    with pytest.raises(InvalidMessage) as refused:
        a_door(**profile).enter(an_envelope(input=given, enc_type="SM4"), TOKEN, now())

    assert refused.value.violations[0].field == field


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"infno": "1999"}, "已支持：1101、2001"),
        ({"infno": None}, "不支持该 infno"),
        ({"msgid": "1"}, "msgid"),
        ({"msgid": f"{OTHER_HOSPITAL}202603020915000001"}, "msgid"),
        ({"msgid": f"{HOSPITAL}202613020915000001"}, "msgid"),
        ({"insuplc_admdvs": ""}, "insuplc_admdvs"),
        ({"opter": ""}, "opter"),
        ({"opter_name": "名" * 51}, "opter_name"),
        ({"infver": None}, "infver"),
        ({"inf_time": "today"}, "inf_time"),
        ({"input": "{"}, "报文格式"),
        ({"input": None}, "input.data"),
        ({"input": {"data": an_outpatient(dr_name="")}}, "dr_name"),
        ({"input": {"data": an_outpatient(ipt_otp_no="V" * 31)}}, "ipt_otp_no"),
        ({"input": {"data": [an_outpatient(), an_outpatient()]}}, "input.data"),
    ],
)
def test_an_envelope_that_breaks_the_interface_is_refused_in_words(changes, said):
    entered = Entered(
        Institution(code=HOSPITAL, name="n", region=REGION), an_envelope(**changes), lambda answer: (answer, {})
    )

    with pytest.raises(HubError) as refused:
        read_call(entered, now())
    assert said in refusal_text(refused.value)


@pytest.mark.parametrize("number", ["2201", "2201A"])
def test_a_revision_letter_is_the_same_transaction(number):
    entered = Entered(
        Institution(code=HOSPITAL, name="n", region=REGION), an_envelope(infno=number), lambda answer: (answer, {})
    )

    call = read_call(entered, now())

    assert (call.infno, call.facts["psn_no"]) == ("2201", "P-1")
    with pytest.raises(Spoken):
        read_call(replace(entered, envelope={**entered.envelope, "infno": "220AA"}), now())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)


def refusal_of(envelope: dict[str, Any]) -> str:
    """The words of a refusal; something else where nothing is refused."""
    entered = Entered(Institution(code=HOSPITAL, name="n", region=REGION), envelope, lambda answer: (answer, {}))
    try:
        read_call(entered, now())
    except HubError as refused:
        return refusal_text(refused)
    return "taken"


@settings(max_examples=50)
@given(st.sampled_from(sorted(HANDLERS)), st.dictionaries(st.sampled_from(sorted(an_envelope())), JSON_VALUES))
def test_whatever_stands_in_an_envelope_is_read_or_refused_in_words(infno, spoiled):
    assert 0 < len(refusal_of(an_envelope(infno=infno) | spoiled)) <= 200


@settings(max_examples=50)
@given(st.sampled_from(sorted(HANDLERS)), JSON_VALUES)
def test_whatever_a_node_holds_is_read_or_refused_in_words(infno, value):
    nodes = EXCHANGES[infno].input
    content = {name: dict.fromkeys(node.shape.fields, value) for name, node in nodes.items()}

    assert 0 < len(refusal_of(an_envelope(infno=infno, input=content))) <= 200


@given(st.binary(max_size=2000))
def test_a_file_that_is_no_zip_of_rows_is_refused(content):
    with pytest.raises(InvalidMessage):
        rows_of(content)


def a_file(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d.txt", text)
    return packed.getvalue()


def test_the_rows_of_a_file_are_read():
    rows = rows_of(a_file("S\tM\tP\t1.00\t0.50\t0\t0\tnull\nS\tM\tP\t-1.00\t-0.50\tnull\t1\tnull\n"))

    assert [(row.total_fen, row.fund_fen, row.account_fen, row.refund) for row in rows] == [
        (100, 50, 0, False),
        (-100, -50, 0, True),
    ]


@pytest.mark.parametrize(
    "text", ["a\tb\n", "S\tM\tP\t1.001\t0\t0\t0\tx\n", "null\tM\tP\t1\t0\t0\t0\tx\n", "0" * 5_000_000]
)
def test_rows_are_read_whole_or_not_at_all(text):
    with pytest.raises(InvalidMessage) as refused:
        rows_of(a_file(text))
    assert "file_qury_no" in refusal_text(refused.value)
