"""Every sample of every adapter: a task becomes these bytes, these bytes mean this."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.registry import ADAPTERS, Adapter, make_adapter
from schemas.codes import Outcome
from schemas.errors import HubError
from schemas.payer import PayerTask, RawAnswer
from tests.support.samples import (
    meaning_of,
    meaning_of_error,
    name_of,
    read_answer,
    read_settings,
    read_task,
    sample_answers,
    sample_tasks,
    sibling,
)

ANSWERS = sample_answers()


def adapter_of(name: str, task_file: Path) -> Adapter:
    return make_adapter(read_settings(task_file, name))


def adapter_for(path: Path) -> str:
    """The adapter of a folder: the one that its answers are recorded for."""
    return next(read_answer(each)[0]["adapter"] for each in ANSWERS if each.parent == path.parent)


def task_file(path: Path, expected: dict[str, str]) -> Path:
    return path.parent / f"{expected['task']}.task.json"


@cache
def recorded(path: Path) -> tuple[PayerTask, RawAnswer, Adapter]:
    """What a sample is mutated from, read once."""
    expected, task, answer = read_answer(path)
    return task, answer, adapter_of(expected["adapter"], task_file(path, expected))


@pytest.mark.parametrize("path", sample_tasks(), ids=name_of)
def test_a_task_becomes_the_recorded_request(path):
    task = read_task(path)

    call = adapter_of(adapter_for(path), path).prepare(task)

    request = sibling(path, "request")
    made = f"{call.method} {call.path}".encode() if request.suffix == ".http" else call.body
    assert made == request.read_bytes().removesuffix(b"\n")
    assert call.body == b"" if request.suffix == ".http" else call.method == "POST"


@pytest.mark.parametrize("path", ANSWERS, ids=name_of)
def test_a_recorded_answer_means_what_is_expected(path):
    expected, task, answer = read_answer(path)
    adapter = adapter_of(expected["adapter"], task_file(path, expected))

    try:
        found = {"decision": meaning_of(adapter.decode(task, answer))}
    except HubError as error:
        found = {"error": meaning_of_error(error)}

    assert found == {key: expected[key] for key in ("decision", "error") if key in expected}


@pytest.mark.parametrize("path", ANSWERS, ids=name_of)
@settings(max_examples=30)  # of each of some two hundred samples
@given(cut=st.floats(0, 1), length=st.integers(0, 30), inserted=st.binary(max_size=6))
def test_a_mutated_answer_is_refused_or_stays_within_the_bill(path, cut, length, inserted):
    task, answer, adapter = recorded(path)
    start = int(cut * len(answer.body))
    mutated = answer.body[:start] + inserted + answer.body[start + length :]

    with suppress(HubError):
        raw = RawAnswer(mutated, answer.status, answer.content_type)
        decision = adapter.decode(task, raw)
        assert decision.amount_fen <= task.left_fen or decision.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_has_samples(name):
    assert any(read_answer(path)[0]["adapter"] == name for path in ANSWERS)
