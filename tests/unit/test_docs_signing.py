"""The page about signatures: its example is right, and its commands work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from crypto import http_signatures, sm2
from crypto.message_keys import signing_key

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "signing.md").read_text(encoding="utf-8")


def the(pattern: str) -> str:
    found = re.search(pattern, PAGE, re.MULTILINE)
    assert found is not None, pattern
    return found[1]


def test_the_example_is_what_we_sign():
    secret = the(r"^with the secret `(.+?)`")
    request = http_signatures.Request("POST", "/hub/claims", b'{"request_id":"R-1"}', "R-1")

    made = http_signatures.sign_request(
        signing_key(f"hmac-sha256:{secret}"), "2026-11", request, 1_795_000_000, "q7Rk0mV2tYx9Lw4nB1cD"
    )

    assert the(r"^Content-Digest: (.+)$") == made["content-digest"]
    assert the(r"^Signature-Input: (.+)$") == made["signature-input"]
    assert the(r"^Signature: (.+)$") == made["signature"]
    assert the(r'^"content-digest": (.+)$') == made["content-digest"]
    assert f"hub={the(r'^.@signature-params.: (.+)$')}" == made["signature-input"]


def test_the_command_makes_a_pair():
    program = the(r'^    python -c "(.+)"$')

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    secret, public = done.stdout.split()
    assert sm2.PrivateKey.of_text(secret).public.encoded == sm2.PublicKey.of_text(public).encoded
