"""Reading rule books: what is wrong is named with its line, its field and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rulebook_file import InvalidRuleBook, read_rule_book

GOOD = """\
title: test
parties:
  - {code: BASIC-1, kind: basic, name: {zh: 基本, en: basic}, adapter: basic.soap, region: 440300}
  - code: ANKANG
    kind: insurer
    name: {zh: 安康, en: Ankang}
    adapter: insurer.rest
institutions:
  - {code: H44030000001, name: 一院, region: 440300, amqp: true}
rules:
  - id: basic
    layer: basic
    product: BASIC
    payers: [{party: BASIC-1}]
    valid_from: 2020-01-01
    when:
      regions: [440300]
    reason: {zh: 参保, en: enrolled}
  - id: commercial
    layer: commercial
    product: P1
    needs_coverage: yes
    payers:
      - party: ANKANG
        weight: 70
    valid_from: 2020-01-01
    valid_until: 2030-12-31
    reason: {zh: 商业, en: commercial}
"""


def complaints(text: str) -> list[tuple[int, str]]:
    with pytest.raises(InvalidRuleBook) as refusal:
        read_rule_book(text)
    return [(complaint.line, complaint.field) for complaint in refusal.value.complaints]


def test_a_good_file_is_read_with_its_codes_as_text():
    book = read_rule_book(GOOD)

    assert book.party_by_code["BASIC-1"].region == "440300"
    assert [rule.id for rule in book.rules_in_order] == ["basic", "commercial"]
    assert book.rule_by_id["commercial"].needs_coverage is True
    assert book.rule_by_id["commercial"].payers[0].weight == 70


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("title: test\n", "", [(1, "title")]),
        ("title: test\n", "title: test\ntitle: again\n", [(2, "title")]),
        ("title: test\n", "title: test\ncolour: red\n", [(2, "colour")]),
        ("    kind: insurer\n", "    kind: bank\n", [(5, "parties[1].kind")]),
        ("    adapter: insurer.rest\n", "", [(4, "parties[1].adapter")]),
        ("  - code: ANKANG\n", "  - code: ankang\n", [(4, "parties[1].code")]),
        ("  - code: ANKANG\n", "  - code: BASIC-1\n", [(4, "parties[1]")]),
        ("region: 440300, amqp", "region: 4403, amqp", [(9, "institutions[0].region")]),
        ("  - id: commercial\n", "  - id: basic\n", [(19, "rules[1]")]),
        ("      - party: ANKANG\n", "      - party: NOBODY\n", [(19, "rules[1]")]),
        ("        weight: 70\n", "        weight: 0\n", [(25, "rules[1].payers[0].weight")]),
        ("        weight: 70\n", "      - party: ANKANG\n", [(23, "rules[1].payers")]),
        ("    valid_until: 2030-12-31\n", "    valid_until: 2019-12-31\n", [(27, "rules[1].valid_until")]),
        ("    valid_until: 2030-12-31\n", "    valid_until: 2030-13-31\n", [(27, "rules[1].valid_until")]),
        ("      regions: [440300]\n", "      regions: []\n", [(17, "rules[0].when.regions")]),
        ("      regions: [440300]\n", "      planets: [3]\n", [(17, "rules[0].when.planets")]),
        ("      regions: [440300]\n", "      total_min: 1e3\n", [(17, "rules[0].when.total_min")]),
        ("    needs_coverage: yes\n", "    needs_coverage: perhaps\n", [(22, "rules[1].needs_coverage")]),
        ("    layer: basic\n", "    layer: basic\n    needs_coverage: true\n", [(12, "rules[0].layer")]),
        ("    product: P1\n", "    product: P1\n    product: P2\n", [(22, "product")]),
        ("title: test\n", "title: [test\n", [(2, "file")]),
        ("title: test\n", "title: te\x07st\n", [(1, "file")]),
        ("    product: P1\n", "    product: P1\x01\n", [(21, "file")]),
        ("    reason: {zh: 商业, en: commercial}\n", "    reason: {zh: 商业}\n", [(28, "rules[1].reason.en")]),
    ],
)
def test_a_broken_file_names_the_line_and_the_field(old, new, expected):
    assert GOOD.count(old) == 1

    assert complaints(GOOD.replace(old, new)) == expected


def test_every_complaint_is_named_at_once_in_file_order():
    broken = GOOD.replace("kind: insurer", "kind: bank").replace("weight: 70", "weight: x").replace("title: test\n", "")

    assert complaints(broken) == [(1, "title"), (4, "parties[1].kind"), (24, "rules[1].payers[0].weight")]


ACCOUNT = "bank_account: {name: 一院, bank: 示例银行支行, number: %s}"


def with_accounts(institution: str, payer: str) -> str:
    """The good file with the numbers of an institution's account and a payer's."""
    text = GOOD.replace("amqp: true}", "amqp: true, " + ACCOUNT % institution + "}")
    return text.replace("    adapter: insurer.rest\n", "    adapter: insurer.rest\n    " + ACCOUNT % payer + "\n")


def test_a_bank_account_is_read_without_its_gaps():
    book = read_rule_book(with_accounts("0012 3456-7890 1234", "6543210987654321"))

    accounts = book.institution_by_code["H44030000001"].bank_account, book.party_by_code["ANKANG"].bank_account
    assert [one and one.number for one in accounts] == ["0012345678901234", "6543210987654321"]


@pytest.mark.parametrize(
    ("institution", "payer", "place"),
    [
        ("12345", "6543210987654321", (10, "institutions[0].bank_account.number")),
        ("0012 3456 789O", "65432109876543210987654321098765432", (8, "parties[1].bank_account.number")),
        ("6543 2109 8765 4321", "6543210987654321", (10, "institutions[0].bank_account.number")),
    ],
)
def test_a_bank_account_that_cannot_be_right_is_named_and_not_repeated(institution, payer, place):
    text = with_accounts(institution, payer)

    assert complaints(text) == [place]
    with pytest.raises(InvalidRuleBook) as refusal:
        read_rule_book(text)
    assert "6543" not in str(refusal.value)


ALL_BUT = "reconciliation:\n  - {party: ANKANG%s}\n  - party: ANKANG\n    code: second\n%s"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", "    regions: [440300]\n"),
        (", regions: [440300, 440100]", "    regions: [440300]\n"),
        (", regions: [440300], body: institution", "    regions: [440100]\n"),
        (", regions: [440300], insurance_types: ['310']", "    regions: [440300]\n"),
    ],
)
def test_two_schemes_of_a_payer_never_hold_the_same_share(first, second):
    text = GOOD + ALL_BUT % (first, second)

    ((line, field),) = complaints(text)

    assert field == "reconciliation[1].regions"
    named = text.splitlines()[line - 1]
    assert "regions:" in named or "party: ANKANG" in named
    with pytest.raises(InvalidRuleBook, match="ANKANG/daily and ANKANG/second; give each"):
        read_rule_book(text)


def test_a_payers_schemes_agree_whether_its_claims_hold_the_personal_accounts():
    text = GOOD + ALL_BUT % (", regions: [440300], account: in_fund", "    regions: [440100]\n")

    ((_, field),) = complaints(text)

    assert field == "reconciliation[1].account"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (", regions: [440300]", "    regions: [440100]\n"),
        (", regions: [440300], insurance_types: ['310']", "    regions: [440300]\n    insurance_types: ['390']\n"),
    ],
)
def test_schemes_whose_books_lie_apart_stand_side_by_side(first, second):
    assert len(read_rule_book(GOOD + ALL_BUT % (first, second)).schemes_of("ANKANG")) == 2


def test_an_institutions_books_may_be_compared_in_two_ways():
    schemes = "reconciliation:\n  - {party: H44030000001}\n  - {party: H44030000001, code: second}\n"
    assert len(read_rule_book(GOOD + schemes).schemes_of("H44030000001")) == 2


@pytest.mark.parametrize("text", ["", "- a\n", "just text", "42", "--- a\n--- b\n"])
def test_what_is_no_mapping_is_refused(text):
    assert complaints(text)[0][1] == "file"


def test_each_complaint_has_a_remedy_for_people():
    with pytest.raises(InvalidRuleBook) as refusal:
        read_rule_book(GOOD.replace("weight: 70", "weight: x"))

    assert str(refusal.value) == "line 25: rules[1].payers[0].weight: send a whole number"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(InvalidRuleBook):
        read_rule_book(text)


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", f"a: {'[' * 40}{']' * 40}", "a: " + "[" * 100_000])
def test_a_file_that_is_small_and_endless_is_refused(text):
    with pytest.raises(InvalidRuleBook) as refused:
        read_rule_book(text)

    assert "too deeply" in str(refused.value)
