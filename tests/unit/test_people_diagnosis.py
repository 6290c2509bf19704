"""Every cause that the program knows has words, and every letter a reason why its replay is harmless."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hub.people.diagnosis import CAUSES, Remedy, diagnosis_of, safety_of
from hub.people.letters import HARMLESS, LEG, Facts, Way
from schemas import errors
from schemas.transactions import Transaction

_NEVER_DEAD = {"service.unavailable", "outcome.unknown"}


def causes_in(folder: str) -> set[str]:
    """The causes written in calls of `dead(...)` below a folder."""
    found = set()
    texts = [path.read_text(encoding="utf-8") for path in Path(folder).rglob("*.py")]
    for text in [text for text in texts if "dead(" in text]:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dead":
                found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    return found


def test_every_verdict_in_the_code_is_explained():
    assert {"leg.unknown", "message.no_message_id"} <= causes_in("hub") <= CAUSES


def test_every_class_of_error_is_explained():
    codes = {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.HubError)}

    assert codes - _NEVER_DEAD <= CAUSES


@pytest.mark.parametrize("cause", sorted(CAUSES | {"xml.syntax", "nobody.knows"}))
def test_words_are_there_in_both_languages(cause):
    found = diagnosis_of(cause)

    for text in (found.happened, found.why, found.todo):
        assert text.zh.strip()
        assert text.en.strip()
        assert text.en.isascii()
        assert not text.zh.isascii()


def test_a_format_that_cannot_be_read_is_an_edit():
    assert diagnosis_of("soap.body").remedy is Remedy.EDIT


@pytest.mark.parametrize(
    "what", [*Transaction, LEG, "claim.settle", "claim.cancel", "settlement.answer", "error.answer", "no.such"]
)
def test_every_letter_has_a_reason_why_its_replay_is_harmless(what):
    assert safety_of(Facts(Way.IN, what, "X")).en


@pytest.mark.parametrize("what", sorted(HARMLESS))
def test_no_money_hangs_on_these(what):
    assert not Facts(Way.IN, what, "X").money


@pytest.mark.parametrize("what", [LEG, "settlement.settle", "settlement.cancel", "settlement.reverse", "claim.answer",
                                  "claim.settle", "claim.cancel", "settlement.setle", ""])  # fmt: skip
def test_money_hangs_on_these_and_on_whatever_is_unknown(what):
    assert Facts(Way.IN, what, "X").money
