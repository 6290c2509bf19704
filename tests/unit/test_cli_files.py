"""Files that commands read: rule books, policies, messages. Complaints name line and field, never a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli.app import app
from hub.cli.coverage_file import COLUMNS, InvalidCoverage, read_coverage
from hub.cli.fund_cuts import WrongRows, read_cuts
from hub.cli.sending import Message, Refused, message_of
from hub.demo.rulebook import fixed_endpoints, rule_book_text
from hub.demo.samples import write_samples
from hub.rulebook_check import Change, StoredRequest, changes, plan_differences, read_checked
from routing.rulebook_file import InvalidRuleBook, read_rule_book
from schemas.base import read_message
from schemas.settlement import CancelRequest, SettleRequest
from schemas.transactions import Transaction
from store.coverage import person_key
from tests.support.builders import HOSPITAL, OTHER_HOSPITAL, a_settle_request, an_id_card, as_bytes

SECRET = b"a secret of thirty-two characters"
GOOD = rule_book_text(fixed_endpoints())


def check(file: Path, *options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["rules", "check", str(file), *options])
    return done.exit_code, done.stdout, done.stderr


def a_file(folder: Path, content: str, name: str = "rules.yaml") -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def test_a_good_rule_book_is_called_good(tmp_path: Path) -> None:
    exit_code, shown, _ = check(a_file(tmp_path, GOOD))

    assert exit_code == 0
    assert "4 parties, 3 institutions, 5 rules" in " ".join(shown.split())


def test_every_complaint_comes_with_its_line(tmp_path: Path) -> None:
    broken = GOOD.replace("region: '440300'", "region: shenzhen", 1).replace("order: 30", "order: many")
    lines = broken.splitlines()

    exit_code, _, said = check(a_file(tmp_path, broken))

    assert exit_code == 1
    for wrong in ("region: shenzhen", "order: many"):
        number = 1 + next(index for index, line in enumerate(lines) if wrong in line)
        assert f"rules.yaml:{number}: " in said


def test_complaints_can_be_had_as_json(tmp_path: Path) -> None:
    exit_code, shown, _ = check(a_file(tmp_path, "title: x\nparties: []\n"), "--json")

    assert exit_code == 1
    assert {one["field"] for one in json.loads(shown)["complaints"]} == {"institutions", "rules"}


def test_an_adapter_that_does_not_exist_is_refused_at_the_partys_line() -> None:
    broken = GOOD.replace("adapter: insurer.queue", "adapter: insurer.pigeon")

    with pytest.raises(InvalidRuleBook) as refusal:
        read_checked(broken)

    (complaint,) = refusal.value.complaints
    assert broken.splitlines()[complaint.line - 1].strip() == "- code: HENGAN"
    assert "insurer.queue" in complaint.remedy


def test_a_diff_names_what_is_added_removed_and_changed() -> None:
    old = read_rule_book(GOOD)
    new = old.model_copy(
        update={
            "institutions": old.institutions[1:],
            "rules": (*old.rules[:-1], old.rules[-1].model_copy(update={"order": 99, "independent": True})),
        }
    )

    assert changes(old, new) == [
        Change("removed", "institution", old.institutions[0].code),
        Change("changed", "rule", old.rules[-1].id, ("order", "independent")),
    ]
    assert changes(old, old) == []
    assert {one.kind for one in changes(None, old)} == {"added"}


def test_only_cases_whose_plans_differ_are_named() -> None:
    old = read_rule_book(GOOD)
    without_second = old.model_copy(
        update={"institutions": tuple(one for one in old.institutions if one.code != OTHER_HOSPITAL)}
    )
    past = [a_past_case(HOSPITAL), a_past_case(OTHER_HOSPITAL)]

    (difference,) = plan_differences(old, without_second, past)

    assert difference.institution == OTHER_HOSPITAL
    assert difference.before == "BASIC-440300 (basic)"
    assert difference.after.startswith("refused")


def a_past_case(institution: str) -> StoredRequest:
    request = read_message(SettleRequest, as_bytes(a_settle_request(institution=institution)))
    return StoredRequest("c", institution, request.settlement_no, request, ())


def a_policy_file(folder: Path, *lines: str, header: str = ",".join(COLUMNS)) -> Path:
    return a_file(folder, "\n".join([header, *lines]) + "\n", "coverage.csv")


def test_policies_are_read_under_the_hash_of_the_person(tmp_path: Path) -> None:
    file = a_policy_file(tmp_path, f"01,{an_id_card()},CARE,P-1,440300,2026-01-01,")

    (row,) = read_coverage(file, SECRET)

    assert row.person_key == person_key(SECRET, "01", an_id_card())
    assert (row.product, row.valid_until) == ("CARE", None)


def test_a_spreadsheets_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = a_policy_file(
        tmp_path, f"01,{an_id_card()},CARE,P-1,440300,2026-01-01,", header="\ufeff" + ",".join(COLUMNS)
    )

    assert len(read_coverage(file, SECRET)) == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("01,110101199003071239,CARE,P-1,440300,2026-01-01,", "id_no"),
        ("77,1234,CARE,P-1,440300,2026-01-01,", "id_type"),
        ("99,,CARE,P-1,440300,2026-01-01,", "id_no"),
        ("99,A1234,CA RE,P-1,440300,2026-01-01,", "product"),
        ("99,A1234,CARE,,440300,2026-01-01,", "policy_no"),
        ("99,A1234,CARE,P-1,44030,2026-01-01,", "region"),
        ("99,A1234,CARE,P-1,440300,1.1.2026,", "valid_from"),
        ("99,A1234,CARE,P-1,440300,2026-01-01,tomorrow", "valid_until"),
        ("99,A1234,CARE,P-1,440300,2026-01-01,2025-12-31", "valid_until"),
        ("99,A1234", "product"),
    ],
)
def test_a_wrong_line_is_named_without_its_values(tmp_path: Path, line: str, field: str) -> None:
    file = a_policy_file(tmp_path, f"01,{an_id_card()},CARE,P-1,440300,2026-01-01,", line)

    with pytest.raises(InvalidCoverage) as refusal:
        read_coverage(file, SECRET)

    assert refusal.value.complaints[0].startswith(f"line 3: {field}")
    assert "A1234" not in str(refusal.value)
    assert "110101199003071239" not in str(refusal.value)


def test_a_missing_column_and_another_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCoverage, match="region"):
        read_coverage(a_policy_file(tmp_path, header="id_type,id_no,product,policy_no,valid_from,valid_until"), SECRET)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCoverage, match="UTF-8"):
        read_coverage(latin, SECRET)


@pytest.mark.parametrize(
    ("content", "transaction"),
    [
        (a_settle_request(), Transaction.SETTLE),
        ({"institution": HOSPITAL, "settlement_no": "S-1", "cancel_no": "C-1", "reason": "r"}, Transaction.CANCEL),
        ({"institution": HOSPITAL, "settlement_no": "S-1"}, Transaction.QUERY),
    ],
)
def test_a_messages_transaction_and_sender_are_guessed(content: dict[str, object], transaction: Transaction) -> None:
    message = message_of(as_bytes(content), "", "", "")

    assert (message.transaction, message.party) == (transaction, HOSPITAL)


def test_the_same_settlement_has_the_same_key_and_a_query_a_new_one() -> None:
    def key(content: dict[str, object], transaction: str = "") -> str:
        return message_of(as_bytes(content), transaction, "", "").key

    query = {"institution": HOSPITAL, "settlement_no": "S-1"}
    assert key(a_settle_request()) == key(a_settle_request()) == f"{HOSPITAL}-S-1"
    assert key(query) != key(query)
    assert key(a_settle_request(), "settlement.trial") != key(a_settle_request(), "settlement.trial")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"settlement_no":"S-1"}'])
def test_what_is_no_message_is_wrong_usage(body: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        message_of(body, "", "", "")

    assert refusal.value.usage
    with pytest.raises(Refused):
        message_of(as_bytes(a_settle_request()), "settlement.forget", "", "")


def test_what_is_given_wins_over_the_guess() -> None:
    message = message_of(as_bytes(a_settle_request()), "settlement.trial", OTHER_HOSPITAL, "K-1")

    assert message == Message(Transaction.TRIAL, OTHER_HOSPITAL, "K-1", as_bytes(a_settle_request()))


@pytest.mark.parametrize("amqp", [False, True])
def test_the_sandboxs_samples_are_good(tmp_path: Path, amqp: bool) -> None:
    write_samples(tmp_path, amqp=amqp)

    book = read_checked((tmp_path / "rules.yaml").read_text(encoding="utf-8"))
    settle = read_message(SettleRequest, (tmp_path / "settle.json").read_bytes())
    cancel = read_message(CancelRequest, (tmp_path / "cancel.json").read_bytes())
    assert {one.amqp for one in book.institutions} == {amqp}
    assert settle.institution in book.institution_by_code
    assert cancel.settlement_no == settle.settlement_no
    assert read_coverage(tmp_path / "coverage.csv", SECRET)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("settlement_no,amount,code,reason\nS-1,1.50,A01,限价\n".encode("gbk"), "save it as CSV UTF-8"),
        (b"settlement_no,code\nS-1,A01\n", "the heading must name amount"),
        (b"settlement_no,amount,code,why\nS-1,1.50,A01,x\n", "no column is called 'why'"),
        (b"settlement_no,amount,code\n", "it has no rows"),
        (b"settlement_no,amount,code\nS-1,1.50,A01\nS-2,,\n", "row 3: fill in amount, code"),
        (b"settlement_no,amount,code\nS-1,1,250.00,A01\n", "row 2: more values than columns"),
        (b"", "the heading must name settlement_no, amount, code"),
    ],
)
def test_a_file_of_deductions_is_refused_by_row(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "cuts.csv"
    path.write_bytes(content)
    with pytest.raises(WrongRows, match=told):
        read_cuts(path)


def test_a_file_of_deductions_is_read_by_its_heading(tmp_path: Path) -> None:
    path = tmp_path / "cuts.csv"
    path.write_bytes("\ufeffcode,settlement_no,amount,reason\r\nA01,S-1,1.50,限价\r\nA02,S-2,2.00,\r\n".encode())
    assert read_cuts(path) == [
        {"code": "A01", "settlement_no": "S-1", "amount": "1.50", "reason": "限价"},
        {"code": "A02", "settlement_no": "S-2", "amount": "2.00"},
    ]
