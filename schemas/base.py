"""What all canonical messages share: frozen values, no unknown fields, text without control characters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from schemas.errors import InvalidMessage, Violation
from schemas.identity import INSTITUTION_PATTERN, PARTY_PATTERN, REGION_PATTERN
from schemas.strict_json import check_text

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ItemName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[0-9A-Za-z._+/-]+$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z._:-]+$")]
InstitutionCode = Annotated[str, StringConstraints(pattern=INSTITUTION_PATTERN)]
RegionCode = Annotated[str, StringConstraints(pattern=REGION_PATTERN)]
PartyCode = Annotated[str, StringConstraints(pattern=PARTY_PATTERN)]


def _of_our_times(moment: datetime) -> datetime:
    if not 1900 <= moment.year < 3000:
        raise PydanticCustomError("datetime_range", "a moment of the years 1900 to 2999 is expected")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_of_our_times)]
"""With its zone, and far enough from the ends of the calendar to be told in any other zone."""
STEP_MAX = 64


class Value(BaseModel):
    """A part of a message; never edited once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="float")


class Bilingual(Value):
    """The same sentence in Chinese and English."""

    zh: str
    en: str


Model = TypeVar("Model", bound=BaseModel)


def read_message(model: type[Model], raw: bytes) -> Model:
    """A validated message from JSON bytes.

    Raises Malformed for bytes that are no strict JSON, InvalidMessage with one Violation per wrong field otherwise.
    """
    return read_message_and_content(model, raw)[0]


def read_message_and_content(model: type[Model], raw: bytes) -> tuple[Model, dict[str, Any]]:
    """Like `read_message`, with the plain JSON object beside the message."""
    content = check_text(raw)
    try:
        return model.model_validate_json(raw), content
    except ValidationError as error:
        raise InvalidMessage("the message breaks its schema", *violations_of(error)) from None


def violations_of(error: ValidationError) -> list[Violation]:
    """One Violation per error, naming field and remedy and echoing no received value."""
    return [_violation(detail) for detail in own_errors(error)]


def own_errors(error: ValidationError) -> list[ErrorDetails]:
    """The errors of a message, without the ones that only follow from another: a list is not too short because the
    entry in it is wrong."""
    details = error.errors(include_url=False, include_input=False)
    inside = {tuple(detail["loc"][:length]) for detail in details for length in range(len(detail["loc"]))}
    return [detail for detail in details if detail["type"] != "too_short" or tuple(detail["loc"]) not in inside]


_REMEDIES = {
    "missing": "add the field",
    "extra_forbidden": "remove the field: it is not part of this message",
    "string_pattern_mismatch": "use only the characters and length that the schema allows",
    "string_too_long": "shorten the text",
    "string_too_short": "fill in the field",
    "string_type": "send text",
    "enum": "use a code of the code set",
    "literal_error": "use the value that the schema names",
    "bool_type": "send true or false",
    "int_type": "send a whole number",
    "int_parsing": "send a whole number",
    "too_short": "add at least one entry",
    "too_long": "send fewer entries",
    "timezone_aware": "add the time zone, such as +08:00",
    "json_invalid": "send well-formed JSON in UTF-8",
}


def _violation(detail: ErrorDetails) -> Violation:
    code = detail["type"]
    if "." in code:  # a rule of the model as a whole: its text starts with the field that it blames
        blamed, _, remedy = detail["msg"].partition(": ")
        return Violation(path_of((*detail["loc"], blamed)), code, remedy)
    own_words = code in ("money", "decimal")
    remedy = detail["msg"] if own_words else _REMEDIES.get(code, _generic_remedy(code))
    return Violation(path_of(detail["loc"]) or "message", code, remedy)


def _generic_remedy(code: str) -> str:
    if code.startswith(("date", "time")):
        return "send an ISO 8601 date or moment"
    return "send a value that the schema allows"


def path_of(location: tuple[int | str, ...]) -> str:
    """`("fees", 2, "amount")` as `fees[2].amount`. Of a name that the sender made up, the beginning is kept."""
    path = ""
    for step in (step[:STEP_MAX] if isinstance(step, str) else step for step in location):
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
