"""Errors that can be expected become one line with the name of what to look at; bugs stay bugs."""

from __future__ import annotations

import psycopg2
import psycopg2.errors
import pytest
from pika.exceptions import AMQPConnectionError
from sqlalchemy.exc import OperationalError, ProgrammingError
from xlsxwriter.exceptions import FileCreateError

from hub.cli.answer_view import problem_lines
from hub.cli.failures import explain
from hub.local_postgres import PostgresUnavailable
from hub.settings import InvalidSettings
from routing.rulebook_file import Complaint, InvalidRuleBook
from schemas.errors import IllegalTransition, InvalidMessage, Unavailable, Violation


class UndefinedTable(psycopg2.errors.UndefinedTable):
    pgcode = "42P01"


class WrongSyntax(psycopg2.errors.SyntaxError):
    pgcode = "42601"


@pytest.mark.parametrize(
    ("error", "exit_code", "named"),
    [
        (InvalidSettings("HUB_HTTP_PORT: a number"), 2, "HUB_HTTP_PORT"),
        (InvalidRuleBook([Complaint(7, "rules", "add one")]), 1, "line 7: rules"),
        (PostgresUnavailable("none here"), 1, "HUB_DATABASE_URL"),
        (OperationalError("SELECT", {}, psycopg2.OperationalError("refused\nhint")), 1, "HUB_DATABASE_URL"),
        (ProgrammingError("SELECT", {}, UndefinedTable()), 1, "hub db upgrade"),
        (AMQPConnectionError(), 1, "HUB_BROKER_URL"),
        (FileNotFoundError(2, "No such file or directory", "gone/day.html"), 1, "gone/day.html: No such file"),
        (FileCreateError(PermissionError(13, "Permission denied", "day.xlsx")), 1, "day.xlsx: Permission denied"),
        (InvalidMessage("wrong detail", Violation("amount", "money", "two decimals")), 1, "amount: two decimals"),
        (Unavailable("no rule book is active: run `hub rules activate FILE`"), 1, "hub rules activate"),
    ],
)
def test_an_expected_error_is_explained(error: Exception, exit_code: int, named: str) -> None:
    explained = explain(error)

    assert explained is not None
    assert explained.exit_code == exit_code
    assert named in explained.text


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError(98, "in use"), IllegalTransition("leg"), ProgrammingError("S", {}, WrongSyntax())]
)
def test_a_bug_is_not_explained_away(error: Exception) -> None:
    assert explain(error) is None


def test_a_refusal_shows_each_field_with_its_remedy() -> None:
    problem = {
        "code": "message.invalid",
        "detail": "The message breaks its schema.",
        "detail_zh": "报文内容不符合要求。",
        "errors": [{"field": "total", "code": "bill.total", "remedy": "must be the sum"}],
        "case_id": "c-1",
    }

    first, second, third = problem_lines(problem)

    assert "message.invalid" in first
    assert second == "  total: must be the sum"
    assert "c-1" in third


def test_a_refusal_from_a_queue_shows_the_same() -> None:
    refusal = {"error": "party.forbidden", "message": {"zh": "无权操作。", "en": "This party may not do this."}}

    assert list(problem_lines(refusal)) == ["hub: refused: party.forbidden: 无权操作。 This party may not do this."]
