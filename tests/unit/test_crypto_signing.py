"""The signing dialects of national envelopes, and signed HTTP: what holds, and what is refused with which code."""

from __future__ import annotations

import base64
from decimal import Decimal

import pytest

from crypto import http_signatures, sm2
from crypto.errors import KeyUnusable, SignatureRefused
from crypto.http_signatures import Request
from crypto.message_keys import newest_signing_key, signing_key, verifying_key, verifying_keys
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning, Unsigned

NOW = 1_795_000_000
OURS, OTHERS = sm2.new_key(), sm2.new_key()
ENVELOPE = {
    "infno": "2207",
    "msgid": "H44030000001202611220930000001",
    "opter_type": 1,
    "sign_no": None,
    "input": {"data": {"psn_no": "1", "medfee_sumamt": 78.56, "psn_name": "张伟"}},
}
SM4_KEY = b"0123456789abcdef"


def envelope_signing(**changes) -> EnvelopeSigning:
    return EnvelopeSigning(**{"own": OURS, "theirs": OURS.public} | changes)


def body_signing(**changes) -> BodySigning:
    fields = {
        "own": OURS,
        "theirs": OURS.public,
        "sm4_key": SM4_KEY,
        "token": lambda: "T",
        "accepted_token": lambda given: given == "T",
    }
    return BodySigning(**fields | changes)


def gateway_signing(**changes) -> GatewaySigning:
    return GatewaySigning(**{"paas_id": "hub", "secret": "s" * 32, "clock": lambda: NOW} | changes)


DIALECTS = {"none": Unsigned, "envelope": envelope_signing, "body": body_signing, "gateway": gateway_signing}
SIGNED = ["envelope", "body", "gateway"]


def refused(verify) -> str:
    with pytest.raises(SignatureRefused) as refusal:
        verify()
    assert isinstance(refusal.value, ValueError)
    return refusal.value.code


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("payload", ["input", "output"])
def test_what_one_side_signs_the_other_verifies(name, payload):
    dialect = DIALECTS[name]()
    envelope = {**ENVELOPE, payload: ENVELOPE["input"]}

    signed, headers = dialect.sign(envelope, payload)
    opened = dialect.verify(signed, {key.upper(): value for key, value in headers.items()}, payload)

    assert {key: opened[key] for key in envelope} == envelope
    assert "cainfo" not in envelope


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("member", ["cainfo", "signtype"])
def test_an_envelope_without_its_signature_is_refused(name, member):
    dialect = DIALECTS[name]()
    signed, headers = dialect.sign(ENVELOPE)
    del signed[member]

    assert refused(lambda: dialect.verify(signed, headers)) in ("signature.missing", "signature.type")


@pytest.mark.parametrize(
    ("name", "member", "value"),
    [
        ("envelope", "infno", "2208"),
        ("envelope", "added", "1"),
        ("envelope", "cainfo", "zz"),
        ("envelope", "cainfo", "00" * 64),
        ("body", "input", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("body", "cainfo", "AAAA"),
        ("gateway", "input", {"data": {}}),
        ("gateway", "cainfo", "00"),
    ],
)
def test_a_changed_envelope_is_refused(name, member, value):
    dialect = DIALECTS[name]()
    signed, headers = dialect.sign(ENVELOPE)

    code = refused(lambda: dialect.verify({**signed, member: value}, headers))

    assert code in ("signature.wrong", "signature.form", "digest.wrong")


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        (envelope_signing(own=OTHERS), envelope_signing()),
        (body_signing(own=OTHERS), body_signing()),
        (body_signing(sm4_key=b"another-key-1234"), body_signing()),
        (gateway_signing(secret="t" * 32), gateway_signing()),
        (gateway_signing(paas_id="other"), gateway_signing()),
    ],
)
def test_another_key_is_refused(sender, receiver):
    assert refused(lambda: receiver.verify(*sender.sign(ENVELOPE))) == "signature.wrong"


def test_the_envelope_dialect_signs_the_head_in_ascii_order_and_not_the_payload():
    signed, _ = envelope_signing().sign(ENVELOPE)
    text = f"infno=2207&msgid={ENVELOPE['msgid']}&opter_type=1&sign_no=&signtype=SM2"

    OURS.public.verify(text.encode(), bytes.fromhex(signed["cainfo"]))

    assert signed["cainfo"] == signed["cainfo"].upper()
    assert envelope_signing().verify({**signed, "input": {}}, {})["input"] == {}


def test_regions_differ_in_whether_empty_members_are_signed():
    signed, _ = envelope_signing(skip_empty=True).sign(ENVELOPE)

    assert refused(lambda: envelope_signing().verify(signed, {})) == "signature.wrong"
    assert envelope_signing(skip_empty=True).verify(signed, {})["infno"] == "2207"


def test_a_plain_payload_is_no_substitute_for_an_encrypted_one():
    signed, headers = body_signing(sm4_key=None).sign(ENVELOPE)

    assert refused(lambda: body_signing().verify(signed, headers)) == "payload.plain"


def test_a_payload_keeps_its_digits_and_its_spaces_where_it_travels_as_text():
    plain = body_signing(sm4_key=None)
    with_spaces = {**ENVELOPE, "input": '{"a": 1.50}'}

    signed, headers = plain.sign(with_spaces)
    assert plain.verify(signed, headers)["input"] == {"a": 1.5}

    signed, headers = plain.sign({**ENVELOPE, "input": {"a": Decimal("1.50")}})
    OURS.public.verify(b'{"a":1.50}', base64.b64decode(signed["cainfo"]), sm2.Form.DER)


@pytest.mark.parametrize("authorization", ["", "Bearer X", "Basic T", "T"])
def test_a_wrong_token_is_refused(authorization):
    signed, _ = body_signing().sign(ENVELOPE)

    assert refused(lambda: body_signing().verify(signed, {"Authorization": authorization})) == "token.wrong"


@pytest.mark.parametrize("late_s", [-301, 301])
def test_gateway_headers_are_good_for_five_minutes(late_s):
    signed, headers = gateway_signing().sign(ENVELOPE)

    assert refused(lambda: gateway_signing(clock=lambda: NOW + late_s).verify(signed, headers)) == "signature.expired"


def test_gateway_headers_are_good_once():
    seen: set[str] = set()

    def fresh(nonce: str) -> bool:
        return nonce not in seen and not seen.add(nonce)

    signed, headers = gateway_signing().sign(ENVELOPE)
    receiver = gateway_signing(fresh_nonce=fresh)
    receiver.verify(signed, headers)

    assert refused(lambda: receiver.verify(signed, headers)) == "signature.replayed"
    assert refused(lambda: receiver.verify(signed, {})) == "signature.missing"


SECRET = "hmac-sha256:" + "k" * 32
KEYS = {
    "hmac-sha256": (SECRET, SECRET),
    "hmac-sm3": ("hmac-sm3:" + "k" * 32, "hmac-sm3:" + "k" * 32),
    "sm2": (f"sm2:{OURS.secret.hex()}", f"sm2:{OURS.public.encoded.hex()}"),
}
CALL = Request("POST", "/hub/claims?x=1", b'{"request_id":"R-1"}', "R-1")
NONCE = "n" * 22


def signed_call(algorithm: str, request: Request = CALL) -> tuple[dict, dict]:
    """Headers, and the keys that verify them."""
    ours, theirs = KEYS[algorithm]
    headers = http_signatures.sign_request(signing_key(ours), "2026-11", request, NOW, NONCE)
    return headers, {"2026-11": verifying_key(theirs)}


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("request_", [CALL, Request("GET", "/claims/R-1")], ids=["post", "get"])
def test_a_signed_request_is_proven(algorithm, request_):
    headers, keys = signed_call(algorithm, request_)

    proof = http_signatures.verify_request(keys, request_, headers, NOW + 299)

    assert (proof.key_id, proof.nonce, proof.created) == ("2026-11", NONCE, NOW)


def test_the_signature_base_is_that_of_the_standard():
    headers, _ = signed_call("hmac-sha256")

    assert headers["signature-input"] == (
        'hub=("@method" "@path" "@query" "content-digest" "idempotency-key")'
        f';created={NOW};keyid="2026-11";alg="hmac-sha256";nonce="{NONCE}"'
    )
    assert headers["content-digest"].startswith("sha-256=:")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (Request("PUT", CALL.target, CALL.body, "R-1"), "signature.wrong"),
        (Request("POST", "/hub/claims/cancel?x=1", CALL.body, "R-1"), "signature.wrong"),
        (Request("POST", "/hub/claims?x=2", CALL.body, "R-1"), "signature.wrong"),
        (Request("POST", CALL.target, b"{}", "R-1"), "digest.wrong"),
        (Request("POST", CALL.target, b"", "R-1"), "digest.wrong"),
        (Request("POST", CALL.target, CALL.body, "R-2"), "signature.wrong"),
        (Request("POST", CALL.target, CALL.body), "signature.cover"),
    ],
    ids=["method", "path", "query", "body", "no body", "key", "no key"],
)
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_signature_is_for_one_request(algorithm, changed, code):
    headers, keys = signed_call(algorithm)

    assert refused(lambda: http_signatures.verify_request(keys, changed, headers, NOW)) == code


@pytest.mark.parametrize(
    ("name", "old", "new", "code"),
    [
        ("signature", ":", "::", "signature.form"),
        ("signature", "hub=", "sig1=", "signature.form"),
        ("signature-input", f"created={NOW}", f"created={NOW + 1}", "signature.wrong"),
        ("signature-input", '"@path" ', "", "signature.cover"),
        ("signature-input", '"@method" "@path"', '"@path" "@method"', "signature.cover"),
        ("signature-input", '"2026-11"', '"2026-12"', "signature.key"),
        ("signature-input", "hmac-sha256", "hmac-sm3", "signature.algorithm"),
        ("signature-input", "hmac-sha256", "none", "signature.algorithm"),
        ("signature-input", ";nonce=", ";tag=", "signature.form"),
        ("content-digest", "sha-256", "md5", "digest.missing"),
        ("content-digest", "sha-256", "sm3", "digest.wrong"),
    ],
)
def test_altered_signature_headers_are_refused(name, old, new, code):
    headers, keys = signed_call("hmac-sha256")
    headers[name] = headers[name].replace(old, new)

    assert refused(lambda: http_signatures.verify_request(keys, CALL, headers, NOW)) == code


@pytest.mark.parametrize("stripped", ["signature", "signature-input", "content-digest"])
def test_a_stripped_signature_is_refused(stripped):
    headers, keys = signed_call("sm2")
    del headers[stripped]

    code = refused(lambda: http_signatures.verify_request(keys, CALL, headers, NOW))

    assert code == ("digest.missing" if stripped == "content-digest" else "signature.missing")


@pytest.mark.parametrize("late_s", [-301, 301])
def test_a_signature_is_good_for_five_minutes(late_s):
    headers, keys = signed_call("hmac-sha256")

    assert refused(lambda: http_signatures.verify_request(keys, CALL, headers, NOW + late_s)) == "signature.expired"


def test_a_header_that_comes_twice_proves_nothing():
    headers, keys = signed_call("hmac-sha256")
    twice = headers | {"Signature": headers["signature"]}

    assert refused(lambda: http_signatures.verify_request(keys, CALL, twice, NOW)) == "signature.form"


@pytest.mark.parametrize("algorithm", KEYS)
def test_an_answer_is_for_one_request(algorithm):
    request_headers, keys = signed_call(algorithm)
    ours = signing_key(KEYS[algorithm][0])
    request_signature = request_headers["signature"]
    headers = http_signatures.sign_answer(ours, "2026-11", 200, b"{}", request_signature, NOW, NONCE)

    def verify(status: int = 200, body: bytes = b"{}", signature: str = request_signature) -> object:
        return http_signatures.verify_answer(keys, status, body, headers, signature, NOW)

    assert verify()
    assert refused(lambda: verify(status=404)) == "signature.wrong"
    assert refused(lambda: verify(body=b"[]")) == "digest.wrong"
    assert refused(lambda: verify(signature="hub=:AAAA:")) == "signature.wrong"
    assert refused(lambda: http_signatures.verify_request(keys, CALL, headers, NOW)) in (
        "digest.wrong",
        "signature.cover",
    )


def test_keys_are_changed_without_a_gap():
    secrets = {"sign.2026-11": SECRET, "sign.2027-01": "hmac-sha256:" + "n" * 32, "verify.2026-11": SECRET}

    name, key = newest_signing_key(secrets)

    assert (name, newest_signing_key(secrets, "2026-11")[0]) == ("2027-01", "2026-11")
    assert key.algorithm == "hmac-sha256"
    assert list(verifying_keys(secrets)) == ["2026-11"]
    assert newest_signing_key({}) is None
    assert newest_signing_key(secrets, "1999") is None


@pytest.mark.parametrize("text", ["", "secret", "none:x", "hmac-sha256:short", "sm2:00", "sm2:" + "zz" * 32])
def test_an_unusable_key_is_refused_without_showing_it(text):
    for read in (signing_key, verifying_key):
        with pytest.raises(KeyUnusable) as refusal:
            read(text)
        assert not text.partition(":")[2] or text.partition(":")[2] not in str(refusal.value)


def test_a_key_never_shows_its_secret():
    assert "kkkk" not in repr(signing_key(SECRET))
    assert OURS.secret.hex() not in repr(signing_key(KEYS["sm2"][0]))
    assert "s" * 32 not in repr(gateway_signing())
