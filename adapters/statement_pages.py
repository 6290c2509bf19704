"""What every dialect's answer to a question for its books of a day must keep to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from schemas.base import violations_of
from schemas.errors import InvalidMessage, Unavailable, Violation
from schemas.statement import StatementLine
from schemas.statement_pages import StatementPage, StatementQuestion

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


def refuse_status(question: StatementQuestion, status: int) -> NoReturn:
    """Whoever is busy is asked again; whoever does not offer it is not."""
    facts = {"party": question.payer, "code": f"http.{status}"}
    if status in _AGAIN:
        raise Unavailable("the party gives no statement now", **facts)
    raise InvalidMessage("the party gives no statement", **facts)


def refused(question: StatementQuestion, code: str, told: str) -> InvalidMessage:
    """The party's own no, in its own words: they are about a day, not about a person."""
    violation = Violation("day", code or "statement.refused", told[:200] or "ask the party why")
    return InvalidMessage("the party refuses the statement", violation, code="statement.refused", party=question.payer)


def read_line(values: Mapping[str, Any], row: int) -> StatementLine:
    """A line of whole fen; InvalidMessage names the row (from 1) and the field."""
    try:
        return StatementLine.model_validate(values)
    except ValidationError as error:
        found = [Violation(f"lines[{row - 1}].{one.field}", one.code, one.remedy) for one in violations_of(error)]
        raise InvalidMessage("a row of the statement breaks its form", *found) from None


def page_of(question: StatementQuestion, **values: Any) -> StatementPage:
    """A page of whole fen, checked; InvalidMessage for one that contradicts itself or the question."""
    try:
        page = StatementPage.model_validate({"page": question.page, "day": question.day, **values})
    except ValidationError as error:
        raise InvalidMessage("the page breaks its form", *violations_of(error), party=question.payer) from None
    return checked(question, page)


def checked(question: StatementQuestion, page: StatementPage) -> StatementPage:
    """The page when it is the one that was asked for; InvalidMessage otherwise."""
    wrong = [
        Violation(field, "statement.other_page", "answer the day and the page that were asked for")
        for field in ("day", "page")
        if getattr(page, field) != getattr(question, field)
    ]
    if wrong:
        raise InvalidMessage("another page than the one asked for", *wrong, party=question.payer)
    return page
