"""The hospital's side: every error class has its status and words, and nothing received is repeated."""

from __future__ import annotations

import orjson
import pytest

from adapters.hospital.codec import write_answer, write_refusal
from adapters.hospital.problems import TYPE_PREFIX, error_answer, problem_of
from schemas import errors
from schemas.base import read_message
from schemas.errors import Conflict, HubError, InvalidMessage, Violation
from schemas.settlement import SettleRequest
from tests.support.payer_tasks import a_request

SETTLE = a_request().model_dump_json(exclude_none=True).encode()
ERROR_CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, HubError) and each is not HubError
]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"a":1,"a":2}', 400),
        ('{"a":"甲"}'.encode("gbk"), 400),
        (b'"' + b"x" * 1024 * 1024 + b'"', 413),
    ],
)
def test_wrong_bytes_get_their_status(raw, status):
    with pytest.raises(InvalidMessage) as refusal:
        read_message(SettleRequest, raw)

    assert problem_of(refusal.value)["status"] == status


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_every_error_class_is_a_problem_in_both_languages(error_class):
    problem = problem_of(error_class("internal detail of ours", party="SECRET"))

    assert problem["type"] == TYPE_PREFIX + error_class.code
    assert 400 <= problem["status"] <= 504
    assert problem["title"]
    assert problem["detail"]
    assert any("\u4e00" <= character <= "\u9fff" for character in problem["detail_zh"])
    assert "SECRET" not in str(problem)


@pytest.mark.parametrize("error_class", [errors.Unavailable, errors.OutcomeUnknown, errors.IllegalTransition])
def test_what_went_wrong_inside_stays_inside(error_class):
    assert "host db-7" not in str(problem_of(error_class("host db-7 is down")))


def test_violations_name_field_code_and_remedy():
    error = InvalidMessage("x", Violation("fees[2].amount", "money", "write yuan as text"))

    problem = problem_of(error)

    assert problem["status"] == 422
    (entry,) = problem["errors"]
    assert entry.items() >= {"field": "fees[2].amount", "code": "money", "remedy": "write yuan as text"}.items()


def test_a_refusal_repeats_nothing_of_the_message():
    raw = SETTLE.replace(b'"11010519491231002X"', b'"110105194912310021"').replace(b'"25.00"', b'"25.001"')

    with pytest.raises(InvalidMessage) as refusal:
        read_message(SettleRequest, raw)

    text = str(problem_of(refusal.value)) + write_refusal(refusal.value).decode()
    assert "110105194912310021" not in text
    assert "25.001" not in text


def test_a_conflict_says_what_it_contradicts():
    problem = problem_of(Conflict("the same number was sent with other content", code="case.other_content"))

    assert (problem["status"], problem["code"]) == (409, "case.other_content")
    assert problem["detail"].endswith("The same number was sent with other content.")


def test_a_refusal_on_a_queue_says_the_same():
    error = InvalidMessage("x", Violation("total", "money", "write yuan as text"))

    answer = orjson.loads(write_refusal(error, message_id="M-1"))

    assert answer["error"] == "message.invalid"
    assert answer["message_id"] == "M-1"
    assert answer["violations"] == problem_of(error)["errors"]
    assert answer["message"]["zh"]
    assert "case_id" not in answer
    assert write_answer(error_answer(error, message_id="M-1")) == write_refusal(error, message_id="M-1")


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        (b'"amount":"25.001"', b'"amount":"25.00"', "金额"),
        (b'"total":"50.01"', b'"total":"50.00"', "总费用"),
        (b'"type":"999"', b'"type":"310"', "代码表"),
        (b'"institution":"1"', b'"institution":"H44030000001"', "字符"),
    ],
)
def test_a_remedy_is_given_in_chinese_too(wrong, right, words):
    assert right in SETTLE
    with pytest.raises(InvalidMessage) as refusal:
        read_message(SettleRequest, SETTLE.replace(right, wrong))

    assert any(words in entry["remedy_zh"] for entry in problem_of(refusal.value)["errors"])
