"""SM2, SM3, SM4 against the vectors of their standards and against a second implementation."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import gmalg
import gmssl_pyx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import aes, curve, der, sm2, sm3, sm4
from crypto.errors import CannotDecrypt, KeyUnusable, SignatureRefused

# GB/T 32918.5, annexes A and C.
SECRET = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
SIGNED = b"message digest"
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
POINT = b"\x04" + bytes.fromhex(
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
)
CHECK = bytes.fromhex("59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766")
TEXT = bytes.fromhex("21886CA989CA9C7D58087307CA93092D651EFA")
# GB/T 32907, example 1.
BLOCK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
KEY = sm2.PrivateKey(SECRET)
OTHER = sm2.new_key()


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"abc", "66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0"),
        (b"abcd" * 16, "DEBE9FF92275B8A138604889C18E5A4D6FDB70E5387E5765293DCBA39C0C5732"),
    ],
)
def test_sm3_gives_the_digests_of_its_standard(message, digest):
    assert sm3.digest(message).hex().upper() == digest


@given(key=st.binary(min_size=1, max_size=200), message=st.binary(max_size=300))
def test_hmac_over_sm3_agrees_with_a_second_implementation(key, message):
    assert sm3.hmac_digest(key, message) == gmssl_pyx.sm3_hmac(key, message)


def test_sm4_gives_the_block_of_its_standard():
    assert sm4.encrypt(BLOCK, BLOCK)[:16].hex().upper() == "681EDF34D206965E86B3E94F536E4246"


@given(key=st.binary(min_size=16, max_size=16), block=st.binary(min_size=16, max_size=16))
@settings(max_examples=20)
def test_sm4_agrees_with_a_second_implementation(key, block):
    other = gmalg.SM4(key)

    assert sm4.encrypt(key, block)[:16] == other.encrypt(block)
    assert other.decrypt(sm4.encrypt(key, block)[:16]) == block


@pytest.mark.parametrize("cipher", [sm4, aes])
@pytest.mark.parametrize("mode", sm4.Mode)
@given(plain=st.binary(max_size=100))
@settings(max_examples=20)
def test_what_is_encrypted_is_decrypted(cipher, mode, plain):
    assert cipher.decrypt(BLOCK, cipher.encrypt(BLOCK, plain, mode), mode) == plain


@pytest.mark.parametrize("mode", sm4.Mode)
@given(sealed=st.binary(max_size=80))
@settings(max_examples=50)
def test_rubbish_is_no_ciphertext(mode, sealed):
    try:
        plain = sm4.decrypt(BLOCK, sealed, mode)
    except CannotDecrypt:
        return
    assert mode is not sm4.Mode.GCM
    assert len(plain) < len(sealed)


def test_gcm_notices_a_changed_bit():
    sealed = bytearray(sm4.encrypt(BLOCK, b"100.00", sm4.Mode.GCM))
    sealed[13] ^= 1

    with pytest.raises(CannotDecrypt):
        sm4.decrypt(BLOCK, bytes(sealed), sm4.Mode.GCM)


@pytest.mark.parametrize("cipher", [sm4, aes])
def test_a_key_of_the_wrong_size_is_refused(cipher):
    with pytest.raises(KeyUnusable):
        cipher.encrypt(b"short", b"")


def test_the_public_key_of_the_standard_is_derived():
    assert KEY.public.encoded == PUBLIC
    assert curve.point_of(b"\x03" + PUBLIC[:32]) == curve.point_of(b"\x04" + PUBLIC) == curve.point_of(PUBLIC)


def test_the_signature_of_the_standard_holds():
    KEY.public.verify(SIGNED, SIGNATURE)
    numbers = [der.encoded_integer(int.from_bytes(half)) for half in (SIGNATURE[:32], SIGNATURE[32:])]
    KEY.public.verify(SIGNED, der.encoded_sequence(*numbers), sm2.Form.DER)


@pytest.mark.parametrize(
    ("order", "sealed"), [(sm2.Order.C1C3C2, POINT + CHECK + TEXT), (sm2.Order.C1C2C3, POINT + TEXT + CHECK)]
)
def test_the_ciphertext_of_the_standard_is_decrypted(order, sealed):
    assert KEY.decrypt(sealed, order) == b"encryption standard"


@pytest.mark.parametrize("user_id", [sm2.DEFAULT_USER_ID, b"ALICE123@YAHOO.COM"])
def test_two_implementations_verify_each_other(user_id):
    ours = sm2.PrivateKey(SECRET, user_id)
    theirs = gmalg.SM2(SECRET, user_id, b"\x04" + PUBLIC)
    message = "结算 1234.50".encode()

    signature = ours.sign(message)
    r, s = theirs.sign(message)

    assert theirs.verify(message, signature[:32], signature[32:])
    ours.public.verify(message, r + s)


def test_two_implementations_decrypt_each_other():
    other = gmalg.SM2(SECRET, pk=b"\x04" + PUBLIC)

    assert other.decrypt(KEY.public.encrypt(b"key")) == b"key"
    assert KEY.decrypt(other.encrypt(b"key")) == b"key"


@pytest.mark.parametrize("order", sm2.Order)
def test_only_the_owner_decrypts(order):
    sealed = KEY.public.encrypt(b"a session key", order)

    assert KEY.decrypt(sealed, order) == b"a session key"
    with pytest.raises(CannotDecrypt):
        OTHER.decrypt(sealed, order)


@pytest.mark.parametrize("form", sm2.Form)
@pytest.mark.parametrize(
    ("message", "key"), [(b"other", KEY), (SIGNED + b"\0", KEY), (SIGNED, OTHER)], ids=["other", "longer", "wrong key"]
)
def test_a_signature_is_for_one_message_by_one_key(form, message, key):
    with pytest.raises(SignatureRefused):
        key.public.verify(message, KEY.sign(SIGNED, form), form)


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), b"\xff" * 64, SIGNATURE[:63], SIGNATURE + b"\0"], ids=["none", "0", "n", "63", "65"]
)
def test_what_is_no_signature_is_refused(signature):
    for form in sm2.Form:
        with pytest.raises(SignatureRefused):
            KEY.public.verify(SIGNED, signature, form)


@given(cut=st.integers(0, 71), inserted=st.binary(max_size=3))
def test_a_mutilated_der_signature_is_refused(cut, inserted):
    signature = der.encoded_sequence(
        der.encoded_integer(int.from_bytes(SIGNATURE[:32])), der.encoded_integer(int.from_bytes(SIGNATURE[32:]))
    )
    mutated = signature[:cut] + inserted + signature[cut + 1 :]

    if mutated != signature:
        with pytest.raises(SignatureRefused):
            KEY.public.verify(SIGNED, mutated, sm2.Form.DER)


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, (curve.N - 1).to_bytes(32), b"short"])
def test_a_private_key_out_of_range_is_refused(secret):
    with pytest.raises(KeyUnusable):
        sm2.PrivateKey(secret)


@pytest.mark.parametrize(
    "encoded", [bytes(64), PUBLIC[:63] + b"\0", b"\x05" + PUBLIC, b"\x02" + bytes(31) + b"\x05", b""]
)
def test_a_public_key_off_the_curve_is_refused(encoded):
    with pytest.raises(KeyUnusable):
        sm2.PublicKey(encoded)


@pytest.mark.parametrize("text", [SECRET.hex(), SECRET.hex().upper(), f" {SECRET.hex()}\n"])
def test_a_key_is_read_from_hex(text):
    assert sm2.PrivateKey.of_text(text).public.encoded == PUBLIC


def test_a_key_is_read_from_base64_and_never_shown():
    key = sm2.PrivateKey.of_text(base64.b64encode(SECRET).decode())

    assert key.public.encoded == sm2.PublicKey.of_text(base64.b64encode(b"\x04" + PUBLIC).decode()).encoded
    assert SECRET.hex() not in repr(key).lower()
    with pytest.raises(KeyUnusable) as refusal:
        sm2.PrivateKey.of_text("not-a-key-at-all")
    assert "not-a-key" not in str(refusal.value)


def test_a_wrong_signature_leaves_nothing_on_stderr():
    program = (
        "import sys\nfrom crypto import sm2\nkey = sm2.new_key()\n"
        "try: key.public.verify(b'1', key.sign(b'2'))\n"
        "except sm2.SignatureRefused: print('heard', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ), timeout=60
    )

    assert done.stderr == "heard\n"
