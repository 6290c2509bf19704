"""Reconciliation's part of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from hub.gateway.openapi_operators import SECURITY, OperatorAction
from hub.gateway.operators import LIMIT_MAX
from hub.gateway.recon import AFTER_MAX, EXCEL, FORMS, RECON, SEALS_MAX
from hub.gateway.recon_desk import STATES, ApplyAsked, RunAsked, Signed
from hub.recon.report import BREAKS_MAX
from schemas.base import Value
from schemas.statement import BreakClass, Remedy

Json = dict[str, Any]
JSON = "application/json"
READ: tuple[type[BaseModel], ...] = (RunAsked, ApplyAsked, Signed)
_GET = (401, 404, 422, 503)
_POST = (400, 401, 403, 404, 409, 413, 415, 422, 503)


class BreakSide(Value):
    """What one side has of a settlement on the day: counts, and sums in yuan, refunds below zero."""

    settlements: int
    refunds: int
    settled: str
    refunded: str
    account: str


class ReconBreak(Value):
    """One settlement that does not agree. `difference`: the party's books less ours. A side of null: not compared."""

    break_id: int
    run_id: int
    party: str
    scheme: str
    break_class: BreakClass
    key: str
    case_id: str | None
    leg_no: int | None
    institution: str
    payer: str
    settlement_no: str
    request_id: str
    reference: str
    hub: BreakSide | None
    payer_side: BreakSide | None
    hospital: BreakSide | None
    difference: str
    first_day: str
    state: str
    proposal: Remedy | None
    reason: str
    action_id: int | None
    resolution: str
    resolved_by: str
    approved_by: str
    resolved_at: str | None
    entry_ids: tuple[int, ...]


class ReconRun(Value):
    """One comparison. Sums in `totals` are whole fen; `switches` is the scheme as it was configured."""

    run_id: int
    party: str
    scheme: str
    day: str
    state: str
    switches: dict[str, Any]
    rulebook_version: int
    statement_ids: tuple[int, ...]
    totals: dict[str, Any]
    counts: dict[str, int]
    ledger_to: int
    started_by: str
    started_at: str
    finished_at: str | None
    failure: str
    digest: str
    signed_by: str
    approved_by: str
    signed_at: str | None
    voided: int


WRITTEN: tuple[type[BaseModel], ...] = (ReconRun, ReconBreak)
_DAY = {"name": "day", "in": "path", "required": True, "schema": {"type": "string", "format": "date"}}
_OBJECT: Json = {"type": "object"}
_THINGS: Json = {"type": "array", "items": _OBJECT}


def paths(refusals: Any) -> Json:
    """The paths; `refusals` makes the responses of these HTTP statuses."""
    waits = {**_answer(_ref(OperatorAction)), "description": "Waits for a second operator"}
    acted = {"200": _answer(_ref(OperatorAction)), "202": waits}
    goes_on = {**_answer(_OBJECT), "description": "It goes on; look at the day"}
    foretold = {"anyOf": [_ref(OperatorAction), _object(outcomes=_THINGS, left_to_people={"type": "integer"})]}
    day = _object(day={"type": "string"}, runs=_list(ReconRun), statements=_THINGS, late=_THINGS, seal=_OBJECT,
                  books=_OBJECT, report={"type": "string"})  # fmt: skip
    found = _object(breaks=_list(ReconBreak), total={"type": "integer"})
    report = {"description": "The report", "content": {one: {"schema": {"type": "string"}} for one in _REPORTS}}

    def get(name: str, summary: str, schema: Json, *parameters: Json) -> Json:
        return {"get": _operation(name, summary, {"200": _answer(schema), **refusals(*_GET)}, parameters)}

    def post(name: str, summary: str, model: type[BaseModel], answers: Json, parameter: Json) -> Json:
        body = {"required": True, "content": {JSON: {"schema": _ref(model)}}}
        operation = _operation(name, summary, {**answers, **refusals(*_POST)}, [parameter])
        return {"post": operation | {"requestBody": body}}

    reported = _operation("report_day", "The report of a day, as a page that prints, a workbook or JSON",
                          {"200": report, **refusals(*_GET)}, [_DAY, *_FORM])  # fmt: skip
    return {
        f"{RECON}/breaks": get("list_breaks", "Breaks of a day or of a run", found, *_BREAKS),
        f"{RECON}/breaks/{{break_id}}": get("get_break", "One break", _ref(ReconBreak), _id("break_id")),
        f"{RECON}/runs/{{run_id}}": get("get_run", "One comparison", _ref(ReconRun), _id("run_id")),
        f"{RECON}/runs/{{run_id}}/apply": post(
            "apply_remedies", "Have remedies carried out, or foretell it", ApplyAsked,
            acted | {"200": _answer(foretold)}, _id("run_id"),
        ),
        f"{RECON}/runs/{{run_id}}/sign-off": post(
            "sign_off_run", "Sign a comparison off; a second operator approves", Signed, acted, _id("run_id")
        ),
        f"{RECON}/seals": get("list_seals", "Sealed days, the newest first", _object(seals=_THINGS), _LAST),
        f"{RECON}/{{day}}": get("get_recon_day", "Comparisons, statements and seal of a day", day, _DAY),
        f"{RECON}/{{day}}/report": {"get": reported},
        f"{RECON}/{{day}}/run": post(
            "run_comparison", "Compare a party's books now", RunAsked, {"200": _answer(_OBJECT), "202": goes_on}, _DAY
        ),
        f"{RECON}/{{day}}/seal": post(
            "seal_day", "Seal a day; a second operator approves", Signed, acted, _DAY
        ),
    }  # fmt: skip


def _operation(name: str, summary: str, responses: Json, parameters: Any) -> Json:
    operation: Json = {"operationId": name, "summary": summary, "security": SECURITY, "responses": responses}
    return operation | ({"parameters": list(parameters)} if parameters else {})


def _answer(schema: Json) -> Json:
    return {"description": "Done", "content": {JSON: {"schema": schema}}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(model: type[BaseModel]) -> Json:
    return {"type": "array", "items": _ref(model)}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _id(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


def _query(name: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string", **schema}}


def _whole(name: str, lowest: int, highest: int, default: int | None) -> Json:
    known = {"default": default} if default is not None else {}
    return _query(name, type="integer", minimum=lowest, maximum=highest, **known)


_REPORTS = ("text/html", EXCEL, JSON)
_FORM = (_query("form", enum=list(FORMS), default="html"), _whole("breaks", 0, 10_000, BREAKS_MAX))
_LAST = _whole("last", 1, SEALS_MAX, 31)
_BREAKS = (
    _query("day", format="date"),
    _whole("run", 1, AFTER_MAX, None),
    _query("party"),
    _query("class", enum=[one.value for one in BreakClass]),
    _query("state", enum=list(STATES)),
    _whole("limit", 1, LIMIT_MAX, 50),
    _whole("after", 0, AFTER_MAX, 0),
)
