"""The matrix of bad input: every case with the test that proves what becomes of it.

A case is a row of `tests/integration/test_bad_input.py` (ROW), stands in another test (a file with the test's name, and
in brackets a key of the table that the test runs through), or is open, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNIT, CONTRACT, INTEGRATION = "tests/unit/test_", "tests/contract/test_", "tests/integration/test_"
ROW = "row"
_JSON = f"{UNIT}schemas_bad_input.py::test_what_is_no_strict_json_is_malformed"
_HTTP = f"{INTEGRATION}gateway_refusals.py::test_"
_SIGNED = f"{UNIT}crypto_signing.py::test_"
_SIGNED_HTTP = f"{INTEGRATION}gateway_signatures.py::test_"
_FILE = f"{UNIT}import_files.py::"
_REFUSED = f"{_FILE}test_what_cannot_be_trusted_is_refused_as_a_whole@REFUSED"
_FORMS = f"{_FILE}test_every_form_gives_the_same_rows@FORMS"
_ISLAND = f"{INTEGRATION}party_isolation.py::test_"
_XML = f"{UNIT}soap_bad_input.py::test_it_is_refused_without_an_effect@ROWS"


@dataclass(frozen=True, slots=True)
class Open:
    """A case that nothing proves, and why."""

    why: str


Proof = str | Open
MATRIX: dict[str, dict[str, Proof]] = {
    "JSON": {
        "duplicate keys": ROW,
        "NaN": ROW,
        "Infinity": ROW,
        "deep nesting": ROW,
        "5,000-digit integer": ROW,
        "lone surrogate": ROW,
        "NUL": ROW,
        "BOM": ROW,
        "UTF-16": ROW,
        "GBK": ROW,
        "unknown field": ROW,
        "mass assignment": ROW,
        "trailing bytes": ROW,
        "more than 1 MiB": ROW,
        "every other breach of strict JSON": _JSON,
    },
    "Money": {
        "float": ROW,
        "1E5": ROW,
        "-0": ROW,
        "-1": ROW,
        "0.001": ROW,
        "full-width digits": ROW,
        "1_000": ROW,
        "NaN": ROW,
        "more than 10^13 fen": ROW,
        "sum off by 1 fen": ROW,
        "NULL": ROW,
        "exponents in a national amount": ROW,
        "digits without end in a national number": ROW,
    },
    "Identity, text": {
        "bad check digit": ROW,
        "15-digit number": ROW,
        "lower-case x": ROW,
        "name with middle dot or rare CJK": f"{UNIT}schemas_bad_input.py::test_unusual_names_are_kept_as_they_are",
        "zero-width": ROW,
        "right-to-left": ROW,
        "over-long": ROW,
        "SQL injection": ROW,
        "header injection": ROW,
        "impossible date": ROW,
        "future date": ROW,
        "a moment at the end of the calendar": ROW,
        "a moment at the other end": ROW,
        "a national moment at the end of the calendar": ROW,
    },
    "Semantics": {
        "same id, other body": ROW,
        "same key, other body": ROW,
        "cancel of a foreign settlement": ROW,
        "cancel of an unknown settlement": ROW,
        "undo of what is undone": f"{INTEGRATION}flow_reverse.py::"
        "test_an_undo_of_what_is_undone_gets_its_answer_and_asks_nobody",
        "reversal of an unknown settlement": f"{INTEGRATION}flow_reverse.py::"
        "test_an_undo_of_what_never_came_is_harmless_as_often_as_it_comes",
        "partial more than whole": f"{INTEGRATION}visits.py::"
        "test_lines_come_all_or_none_and_refunds_fit_what_they_refund",
        "closed period": Open("no period is ever closed: an undo days later books on its own day"),
        "wrong payer": ROW,
        "version skip": ROW,
        "10,000 lines": ROW,
    },
    "XML bombs": dict.fromkeys(
        (
            "billion laughs", "quadratic blow-up", "external entity", "external dtd", "parameter entity", "xinclude",
            "schema location", "schema inside", "stylesheet", "too many nodes", "too many attributes", "too large",
            "deep",
        ),
        ROW,
    ),
    "XML differential": {"a comment in an amount": ROW, "an instruction in an amount": ROW, "xml in a cdata": ROW},
    "XPath": {"xpath": ROW},
    "SOAP": {
        "another action": ROW,
        "an unknown operation": ROW,
        "two bodies": ROW,
        "must be understood": ROW,
        "a huge declared array": ROW,
        "encoding style of the message": ROW,
        "1.2 in a 1.1 request": ROW,
        "attachments": ROW,
        "WSDL fetched by a stranger": ROW,
        "everything else around an envelope": _XML,
    },
    "Signature": {
        "none": f"{_SIGNED_HTTP}the_token_alone_lets_nobody_in_and_each_refusal_says_why",
        "stripped": f"{_SIGNED}a_stripped_signature_is_refused",
        "changed": f"{_SIGNED}a_changed_envelope_is_refused",
        "wrong key": f"{_SIGNED}another_key_is_refused",
        "another algorithm": f"{_SIGNED}altered_signature_headers_are_refused",
        "replay": f"{_SIGNED_HTTP}a_signature_is_good_once",
        "timestamp beyond 5 minutes": f"{_SIGNED}a_signature_is_good_for_five_minutes",
        "another body, path or method": f"{_SIGNED}a_signature_is_for_one_request",
        "of a national envelope: none": f"{UNIT}national_doors.py::"
        "test_a_signature_that_is_missing_or_about_something_else_proves_nobody",
        "in a SOAP header": f"{UNIT}soap_username_token.py::test_what_is_not_understood_is_not_ignored",
        "wrapped, KeyInfo, expired certificate, unsigned Body": Open(
            "XML signatures are not verified at all: a header with one is refused, so nothing in it is believed"
        ),
    },
    "WSDL/SSRF": {
        "the payers' description is vendored": f"{UNIT}adapter_basic_soap_requests.py::"
        "test_a_request_has_the_same_content_as_zeep_makes",
        "redirect": f"{CONTRACT}adapter_clients.py::test_an_http_error_decides_nothing",
        "a forged Host in our own description": f"{UNIT}soap_service.py::"
        "test_a_host_that_is_none_does_not_get_into_the_description",
        "egress": Open("which hosts may be reached is the network's to say; endpoints come from the rule book alone"),
    },
    "CSV/Excel": {
        "wrong dimension tag": f"{_REFUSED}[a cell at the end of the world]",
        "a row at the end of the world": f"{_REFUSED}[a row at the end of the world]",
        "zip bomb": f"{_REFUSED}[a bomb]",
        "formula cells": f"{_FORMS}[workbook with a formula]",
        "20-digit numbers as float": f"{_FILE}test_a_number_that_a_spreadsheet_cut_short_is_refused_with_its_remedy",
        "dates as serials": f"{_FORMS}[workbook with numbers and serials]",
        "merged cells": f"{_REFUSED}[merged cells]",
        "macros": f"{_REFUSED}[macros under another name]",
        "renamed type": f"{_REFUSED}[a workbook named as csv]",
        "GBK": f"{_FORMS}[csv in GBK]",
        "BOM": f"{_FORMS}[csv with a byte order mark]",
        "quoted newlines": f"{_FILE}test_a_quoted_line_end_stays_within_its_row",
        "duplicate rows": f"{INTEGRATION}imports.py::test_a_file_is_refused_as_a_whole_with_every_wrong_row",
        "half a file": f"{_REFUSED}[half a file inside quotes]",
        "zip slip": f"{_REFUSED}[a path that leads out]",
        "declared count": f"{_FILE}test_a_last_line_may_declare_the_rows",
        "a first row that is somebody's data": f"{_REFUSED}[no heading at all]",
        "formulas in an error report": f"{_FILE}test_the_report_holds_the_rows_and_no_formulas",
    },
    "HTTP": {
        "smuggling and 10,000 headers": f"{_HTTP}what_is_no_http_is_refused_in_the_same_form",
        "slow head": f"{_HTTP}who_sends_no_request_is_hung_up_on",
        "slow body": f"{_HTTP}a_body_that_comes_too_slowly_is_refused",
        "gzip bomb": f"{_HTTP}a_compressed_body_is_refused",
        "wrong Content-Type": f"{_HTTP}another_content_type_is_refused",
        "large body without a length": f"{_HTTP}a_streamed_body_may_not_become_too_large",
    },
    "Auth": {
        "no token": f"{_HTTP}a_stranger_is_not_served",
        "forged token, alg none": ROW,
        "token of another party": f"{_HTTP}nobody_speaks_for_another",
        "an old token": f"{UNIT}gateway_identity.py::test_only_the_newest_token_of_a_party_is_good",
        "A's key on B's object": ROW,
        "changed party in the body": ROW,
        "changed party in an AMQP header": ROW,
        "replayed nonce": f"{UNIT}soap_username_token.py::"
        "test_a_digest_is_good_once_and_a_nonce_belongs_to_its_party",
        "brute force": Open("a token is 256 bits of a MAC, not a password: nobody guesses it, and nothing is locked"),
        "race of two logins": Open("over HTTP nobody logs in: each request proves its sender by itself"),
        "revoked certificate": Open("certificates end at the broker and the proxy; both are told by their operators"),
        "operator approving own action": f"{INTEGRATION}operator_actions.py::test_nobody_approves_their_own",
    },
    "AMQP": {
        "body above the cap": ROW,
        "no message id": ROW,
        "no transaction": ROW,
        "JSON that is none": ROW,
        "user_id of another": f"{_ISLAND}a_party_cannot_speak_in_anothers_name",
        "forged x-death and reply_to": f"{_ISLAND}headers_and_reply_addresses_that_a_party_makes_up_move_nothing",
        "the hub's own headers": f"{CONTRACT}transport.py::test_a_party_cannot_forge_the_hubs_own_headers",
        "undeclared exchange": f"{_ISLAND}a_party_publishes_nowhere_else",
        "passive declare of a foreign queue": f"{_ISLAND}a_party_cannot_count_what_waits_for_others",
    },
}  # fmt: skip
"""Cases by row of the matrix."""
PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
_HEAD = """# What is refused how

Written by `python -m tests.support.bad_input` from the table that the tests run through; do not edit it by hand.

A refusal is told in the form of its channel: problem details over HTTP, a typed fault over SOAP (whose version 1.1
binds every fault of the sender to HTTP 500), an envelope with infcode -1 (HTTP 200) at /national, a dead letter or
`error.answer` from a queue. It names field, rule and remedy, and repeats no value. Every row with an answer was sent to
a running hub: nothing was stored, the most memory that its process ever had grew by less than 64 MiB, and the next
request was served.

Beside the rows, every decoder gets its own good messages damaged by chance (`tests/unit/test_fuzz_decoders.py`,
`tests/contract/test_fuzz_notices.py`); `.venv/bin/pytest --hypothesis-profile=soak` with these files does it 200 times
as often.
"""


def page(answers: Mapping[str, Mapping[str, str]]) -> str:
    """The page; `answers` has, by row of the matrix and case, what the row of the test is answered."""
    parts = [_HEAD]
    for cell, cases in MATRIX.items():
        lines = [_line(case, proof, answers.get(cell, {}).get(case, "")) for case, proof in cases.items()]
        parts.append("\n".join([f"## {cell}", "| case | answer | proven by |", "|---|---|---|", *lines]) + "\n")
    return "\n".join(parts)


def _line(case: str, proof: Proof, answer: str) -> str:
    if isinstance(proof, Open):
        return f"| {case} | open: {proof.why} | |"
    if proof == ROW:
        return f"| {case} | {answer} | its row |"
    path, _, name = proof.partition("::")
    said = name.partition("@")[0].removeprefix("test_").replace("_", " ")
    return f"| {case} | | `{path.removeprefix('tests/')}`: {said} |"


def main() -> None:
    """Write the page anew."""
    from tests.integration.test_bad_input import answers

    PAGE.write_text(page(answers()), encoding="utf-8")


if __name__ == "__main__":
    main()
