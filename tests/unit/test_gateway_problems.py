"""Refusals over HTTP: one form for all of them."""

from __future__ import annotations

import json

import pytest

from hub.gateway.identity import NotIdentified
from hub.gateway.problems import http_error, http_problem_body, problem_response
from schemas.errors import (
    Conflict,
    Forbidden,
    IllegalTransition,
    InvalidMessage,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Violation,
)

FIELDS = {"type", "title", "status", "detail", "detail_zh", "code"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Malformed("x"), 400),
        (Malformed("x", code="message.too_large"), 413),
        (Malformed("x", code="message.content_type"), 415),
        (InvalidMessage("x"), 422),
        (InvalidMessage("x", code="transaction.unknown"), 404),
        (NotIdentified("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (Unavailable("x"), 503),
        (OutcomeUnknown("x"), 503),
        (IllegalTransition("x"), 500),
    ],
)
def test_each_error_has_its_status_and_the_same_form(error, status):
    response = problem_response(error)
    problem = json.loads(bytes(response.body))

    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem.keys() >= FIELDS


@pytest.mark.parametrize("error", [Unavailable("x"), OutcomeUnknown("x")])
def test_what_may_be_repeated_says_when(error):
    assert problem_response(error).headers["retry-after"] == "1"


def test_who_is_not_known_is_told_how_to_say_it():
    assert problem_response(NotIdentified("x")).headers["www-authenticate"].startswith("Bearer")


def test_a_refusal_about_a_case_names_it():
    problem = json.loads(bytes(problem_response(Conflict("x"), case_id="C-1").body))

    assert problem["case_id"] == "C-1"


def test_violations_are_listed():
    error = InvalidMessage("x", Violation("total", "money", "write yuan as text"))

    (entry,) = json.loads(bytes(problem_response(error).body))["errors"]

    assert (entry["field"], entry["code"], entry["remedy"]) == ("total", "money", "write yuan as text")


@pytest.mark.parametrize(
    ("status", "told"), [(400, 400), (404, 404), (405, 405), (408, 408), (418, 400), (500, 500), (502, 500)]
)
def test_errors_of_http_itself_have_the_same_form(status, told):
    response = problem_response(http_error(status), headers={"Allow": "GET"})

    assert json.loads(bytes(response.body)).keys() == FIELDS
    assert response.headers["allow"] == "GET"
    assert response.status_code == json.loads(http_problem_body(status))["status"] == told
