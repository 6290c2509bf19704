"""The OpenAPI 3.1 document, built from the messages' models: `python -m hub.gateway.openapi [FILE]` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from adapters.hospital.problems import CONTENT_TYPE
from hub.gateway import openapi_operators as operators
from hub.gateway import recon_openapi as recon
from hub.gateway.mailbox import LIMIT_MAX, WAIT_S_MAX, MailboxAck
from hub.gateway.openapi_statements import own_books
from hub.gateway.reading import IDEMPOTENCY_KEY
from hub.gateway.statements import TYPES
from schemas.answer import CombinedAnswer
from schemas.base import Value
from schemas.payer import ClaimCancel, ClaimTask
from schemas.statement import StatementAnswer
from schemas.transactions import ASKS, MESSAGES, SPECS, SUMMARIES, Channel, Group, Transaction

FILE = Path("docs/openapi.json")
VERSION = "1"
JSON = "application/json"
Json = dict[str, Any]


class ProblemError(Value):
    """One thing wrong with a request: where, which rule, and what to do about it."""

    field: str
    code: str
    remedy: str


class Problem(BaseModel):
    """Problem details (RFC 9457). Nothing that was received is repeated."""

    type: str
    title: str
    status: int
    detail: str
    detail_zh: str
    code: str
    errors: tuple[ProblemError, ...] | None = None
    case_id: str | None = None


_READ = (*dict.fromkeys(MESSAGES.values()), MailboxAck)
_WRITTEN = (*dict.fromkeys(spec.answer for spec in SPECS.values() if spec.answer), ClaimTask, ClaimCancel, Problem)
HTTP = tuple(name for name, spec in SPECS.items() if Channel.HTTP in spec.channels)
_REFUSALS = {
    400: "Unreadable body, or Idempotency-Key missing or wrong",
    401: "The speaker could not be identified",
    403: "This party may not do this",
    404: "No such object of this party",
    409: "Contradicts what is stored",
    413: "More than 1 MiB",
    415: "Not application/json in UTF-8",
    422: "Breaks the schema or the rules; `errors` says where",
    503: "Not available now; repeat with the same Idempotency-Key after Retry-After seconds",
}


def document() -> bytes:
    """The document as served and as stored in docs/."""
    content: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Settlement hub",
            "version": VERSION,
            "summary": "One bill, several payers, one answer",
            "description": "Money is text in yuan with at most two decimals. Moments carry their time zone.",
        },
        "security": [{"partyToken": []}],
        "paths": {
            **{f"/api/v1/transactions/{one.value}": {"post": _transaction(one)} for one in HTTP},
            "/api/v1/cases": {"get": _find_case()},
            "/api/v1/cases/{case_id}": {"get": _get_case()},
            "/api/v1/cases/{case_id}/timeline": {"get": _get_timeline()},
            "/api/v1/mailbox": {"get": _get_mailbox()},
            "/api/v1/mailbox/ack": {"post": _acknowledge()},
            "/api/v1/statements/{day}": {"get": own_books(_refusals), "put": _statement_file()},
            **operators.paths(_refusals),
            **recon.paths(_refusals),
            "/healthz": {"get": _health("Whether the process lives")},
            "/readyz": {"get": _health("Whether requests can be served", 503)},
        },
        "components": {
            "securitySchemes": {
                "partyToken": {"type": "http", "scheme": "bearer", "description": "The party's token: CODE.mac"},
                **operators.SCHEME,
            },
            "schemas": _schemas(),
        },
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _schemas() -> Json:
    inputs = [(model, "validation") for model in (*_READ, *operators.READ, *recon.READ)]
    outputs = [(model, "serialization") for model in (*_WRITTEN, *operators.WRITTEN, *recon.WRITTEN)]
    _, definitions = models_json_schema([*inputs, *outputs], ref_template="#/components/schemas/{model}")  # type: ignore[list-item]
    found: Json = definitions["$defs"]
    return dict(sorted(found.items()))


def _transaction(transaction: Transaction) -> Json:
    spec = SPECS[transaction]
    has_case = spec.group is Group.SETTLEMENT and transaction is not Transaction.QUERY
    responses: Json = {}
    parameters = [_idempotency_key(required=has_case)]
    if spec.answer is None:
        responses["202"] = _described("Taken", {"type": "object", "properties": {"accepted": {"const": True}}})
    else:
        what = "The combined answer" if spec.group is Group.SETTLEMENT else "The answer"
        responses["200"] = _described(what, _ref(spec.answer))
        if transaction not in ASKS:
            responses["200"]["headers"] = {"Idempotent-Replayed": _header("`true` when the answer was given before")}
    if has_case:
        parameters.append(_prefer())
        responses["202"] = _described("Taken and not yet answered: how the case stands now", _ref(CombinedAnswer))
        responses["202"]["headers"] = {"Location": _header("Where the answer will be")}
    return {
        "operationId": transaction.value.replace(".", "_"),
        "summary": SUMMARIES[transaction],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref(spec.message)}}},
        "responses": {**responses, **_refusals(400, 401, 403, 404, 409, 413, 415, 422, 503)},
    }


def _statement_file() -> Json:
    text: Json = {"type": "string"}
    day = {"name": "day", "in": "path", "required": True, "schema": {"type": "string", "format": "date"}}
    digest = {
        "name": "Content-Digest",
        "in": "header",
        "required": False,
        "description": "`sha-256=:BASE64:` of the file; it is refused when it came otherwise",
        "schema": text,
    }
    return {
        "operationId": "put_statement",
        "summary": "Send the statement of a day as a file: all of it is on record, or nothing",
        "parameters": [
            day,
            _query("count", {"type": "integer", "minimum": 0}, required=True),
            _query("total", {"type": "string", "description": "The sum of `amount`, in yuan"}, required=True),
            _query("scheme", text | {"default": "daily"}),
            _query("party", text | {"description": "An institution that the speaker speaks for; else the speaker"}),
            digest,
        ],
        "requestBody": {"required": True, "content": {one: {"schema": text} for one in TYPES}},
        "responses": {
            "200": _described("On record", _ref(StatementAnswer)),
            **_refusals(400, 401, 403, 409, 413, 415, 422, 503),
        },
    }


def _find_case() -> Json:
    return {
        "operationId": "find_case",
        "summary": "Find a case by the institution's own settlement number",
        "parameters": [_query("settlement_no", {"type": "string"}, required=True)],
        "responses": {
            "200": _described("None or one", _object(cases={"type": "array", "items": _ref(CombinedAnswer)})),
            **_refusals(401, 422, 503),
        },
    }


def _get_case() -> Json:
    return {
        "operationId": "get_case",
        "summary": "The newest answer of a case, with the reason for each payer in `route`",
        "parameters": [_case_id()],
        "responses": {"200": _described("How the case stands", _ref(CombinedAnswer)), **_refusals(401, 404, 503)},
    }


def _get_timeline() -> Json:
    text = _object(zh={"type": "string"}, en={"type": "string"})
    whole = {"type": "integer"}
    event = _object(
        at={"type": "string", "format": "date-time"},
        kind={"type": "string"},
        party={"type": "string"},
        text=text,
        leg_no=whole,
        operation={"type": "string"},
        attempt=whole,
        outcome={"type": "string"},
        http_status=whole,
        revision=whole,
        took_ms=whole,
    )
    event["required"] = ["at", "kind", "party", "text"]
    schema = _object(case_id={"type": "string"}, events={"type": "array", "items": event})
    return {
        "operationId": "get_timeline",
        "summary": "What happened to a case, in order, without bodies",
        "parameters": [_case_id()],
        "responses": {"200": _described("The events", schema), **_refusals(401, 404, 503)},
    }


def _get_mailbox() -> Json:
    message = _object(
        id={"type": "integer"},
        message_id={"type": "string"},
        type={"type": "string"},
        correlation_id={"type": "string"},
        body={"anyOf": [_ref(ClaimTask), _ref(ClaimCancel), _ref(CombinedAnswer)]},
    )
    return {
        "operationId": "fetch_mailbox",
        "summary": "Messages for the speaker, where no RabbitMQ carries them; they come again unless acknowledged",
        "parameters": [
            _query("wait", {"type": "integer", "minimum": 0, "maximum": WAIT_S_MAX, "default": 0}),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": 50}),
            _query("party", {"type": "string", "description": "The speaker himself"}),
        ],
        "responses": {
            "200": _described("Oldest first", _object(messages={"type": "array", "items": message})),
            **_refusals(401, 403, 404, 409, 422, 503),
        },
    }


def _acknowledge() -> Json:
    return {
        "operationId": "acknowledge_mailbox",
        "summary": "Remove messages that the speaker has taken over",
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref(MailboxAck)}}},
        "responses": {
            "200": _described("How many were there", _object(removed={"type": "integer"})),
            **_refusals(400, 401, 403, 404, 409, 413, 415, 422, 503),
        },
    }


def _health(summary: str, *refusals: int) -> Json:
    schema = {"type": "object", "properties": {"status": {"type": "string"}, "checks": {"type": "object"}}}
    responses = {str(status): _described(summary, schema) for status in (200, *refusals)}
    return {"summary": summary, "security": [], "responses": responses}


def _refusals(*statuses: int) -> Json:
    content = {CONTENT_TYPE: {"schema": _ref(Problem)}}
    return {str(status): {"description": _REFUSALS[status], "content": content} for status in statuses}


def _described(description: str, schema: Json) -> Json:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _header(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


def _query(name: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _case_id() -> Json:
    return {"name": "case_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def _idempotency_key(*, required: bool) -> Json:
    return {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": required,
        "description": "The sender's own id of this message, unchanged in every repeat",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z._:-]{1,64}$"},
    }


def _prefer() -> Json:
    return {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`wait=N` (seconds, at most 60) or `respond-async`; else until the case's deadline",
        "schema": {"type": "string"},
    }


def main() -> None:
    """Write the document."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.write_bytes(document())


if __name__ == "__main__":
    main()
