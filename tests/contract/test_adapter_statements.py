"""Questions for a payer's books of a day, and what the answers mean: recorded bytes, mutilated ones, and rubbish."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.registry import ADAPTERS, make_adapter
from adapters.samples import ADAPTERS as FOLDER
from schemas.errors import HubError, InvalidMessage
from schemas.money import yuan_of
from schemas.payer import PartySettings, RawAnswer
from schemas.statement import LineKind
from schemas.statement_pages import StatementPage, StatementQuestion

QUESTIONS = sorted(FOLDER.glob("**/samples/statements/question.json"))
MEANINGS = sorted(FOLDER.glob("**/samples/statements/*.meaning.json"))


def name_of(path: Path) -> str:
    return f"{path.parents[2].relative_to(FOLDER)}/{path.name.partition('.')[0]}"


def asked(folder: Path):
    told = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    adapter = make_adapter(PartySettings(told["payer"], told["adapter"], endpoint="http://127.0.0.1:9/"))
    return adapter, StatementQuestion(told["payer"], date.fromisoformat(told["day"]), page=told["page"])


def answer_of(path: Path) -> RawAnswer:
    expected = json.loads(path.read_text(encoding="utf-8"))
    (body,) = path.parent.glob(f"{path.name.partition('.')[0]}.answer.*")
    return RawAnswer(body.read_bytes(), expected["status"], expected["content_type"])


def meaning_of(page: StatementPage) -> dict[str, object]:
    amounts = [yuan_of(line.amount) for line in page.lines]
    return {"pages": page.pages, "count": page.count, "total": yuan_of(page.total), "amounts": amounts}


@pytest.mark.parametrize("path", QUESTIONS, ids=name_of)
def test_a_question_becomes_the_recorded_request(path):
    adapter, question = asked(path.parent)

    call = adapter.prepare_statement(question)

    (recorded,) = path.parent.glob("request.*")
    made = call.body or f"{call.method} {call.path}".encode()
    assert made == recorded.read_bytes().removesuffix(b"\n")


@pytest.mark.parametrize("path", MEANINGS, ids=name_of)
def test_a_recorded_page_means_what_is_expected(path):
    adapter, question = asked(path.parent)
    expected = json.loads(path.read_text(encoding="utf-8"))

    try:
        found = {"page": meaning_of(adapter.decode_statement(question, answer_of(path)))}
    except HubError as error:
        fields = [one.field for one in error.violations] if isinstance(error, InvalidMessage) else []
        found = {"error": {"class": type(error).__name__} | ({"fields": fields} if fields else {})}

    assert found == {key: expected[key] for key in ("page", "error") if key in expected}


@pytest.mark.parametrize("path", [one for one in MEANINGS if '"page"' in one.read_text(encoding="utf-8")], ids=name_of)
@settings(max_examples=40)
@given(cut=st.floats(0, 1), length=st.integers(0, 30), inserted=st.binary(max_size=6))
def test_a_mutated_page_is_refused_or_keeps_its_signs(path, cut, length, inserted):
    adapter, question = asked(path.parent)
    answer = answer_of(path)
    start = int(cut * len(answer.body))
    mutated = answer.body[:start] + inserted + answer.body[start + length :]

    with suppress(HubError):
        page = adapter.decode_statement(question, RawAnswer(mutated, answer.status, answer.content_type))
        assert (page.day, page.page) == (question.day, question.page)
        assert all((line.amount >= 0) is (line.kind is LineKind.SETTLE) or line.amount == 0 for line in page.lines)


def test_every_adapter_that_promises_its_books_can_be_asked_for_them():
    for name, adapter in ADAPTERS.items():
        promised = adapter.capabilities.statements or name == "basic.national"
        assert hasattr(adapter, "prepare_statement") is hasattr(adapter, "decode_statement") is promised, name
