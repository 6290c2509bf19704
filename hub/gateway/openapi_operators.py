"""The operators' part of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from hub.gateway.operators import (
    LIMIT_MAX,
    ROOT,
    ActionAsked,
    DiscardAsked,
    EditAsked,
    ReasonGiven,
    ReplayAsked,
    TakeAsked,
)
from hub.gateway.standing import CHOICES, SWITCHES, CaseWanted, DecisionAsked
from hub.people.finding import KEY_MAX
from schemas.base import Bilingual, Value
from store.actions import ActionState
from store.dead_letters import GROUPINGS

Json = dict[str, Any]
JSON = "application/json"
READ: tuple[type[BaseModel], ...] = (
    ReplayAsked,
    DiscardAsked,
    TakeAsked,
    EditAsked,
    ReasonGiven,
    ActionAsked,
    DecisionAsked,
    CaseWanted,
)
SECURITY: list[dict[str, list[str]]] = [{"operatorToken": []}]
SCHEME = {
    "operatorToken": {"type": "http", "scheme": "bearer", "description": "The operator's token: operator:NAME.mac"}
}
_LETTERS, _ACTIONS = f"{ROOT}/dead-letters", f"{ROOT}/actions"
_GET = (401, 404, 422, 503)
_POST = (400, 401, 403, 404, 409, 413, 415, 422, 503)


class OperatorAction(Value):
    """What an operator asked for. `state` requested: it waits for another operator."""

    id: int
    kind: str
    subject: str
    detail: dict[str, Any]
    reason: str
    requested_by: str
    requested_at: str
    state: ActionState
    decided_by: str
    decided_at: str | None
    outcome: str


class DeadLetterEntry(Value):
    """A dead letter without its body. `money`: its replay and its discard need a second operator."""

    id: int
    state: str
    died_at: str
    cause: str
    detail: str
    what: str
    party: str
    money: bool
    owner: str
    edited: bool
    source_queue: str
    exchange: str
    routing_key: str
    attempt: int
    message_id: str
    correlation_id: str
    resolved_at: str | None
    resolved_by: str
    resolution: str
    replay_message_id: str


class LetterForecast(Value):
    """What a replay would do now: blocked, refused, nothing or work."""

    id: int
    effect: str
    text: Bilingual


class LetterDiagnosis(Value):
    """Why a letter died, in plain words."""

    happened: Bilingual
    why: Bilingual
    what_to_do: Bilingual
    remedy: str
    replay_is_safe: Bilingual


class DeadLetterView(DeadLetterEntry):
    """A dead letter with everything about it; personal data in `body` is hidden unless revealed."""

    diagnosis: LetterDiagnosis
    forecast: LetterForecast
    body: str
    difference: str | None
    case_id: str
    timeline: tuple[dict[str, Any], ...]
    actions: tuple[OperatorAction, ...]
    replay_of: int | None
    replays: tuple[int, ...]


class FoundCase(Value):
    """A case that goes by the key; `found_by` says as what."""

    case_id: str
    found_by: tuple[str, ...]
    institution: str
    settlement_no: str
    purpose: str
    state: str
    total: str
    received_at: str
    business_day: str | None


class DeadLetterGroup(Value):
    """Open letters that have one thing in common."""

    key: str
    letters: int
    unowned: int
    oldest_at: str
    newest_at: str
    example_id: int


WRITTEN: tuple[type[BaseModel], ...] = (
    OperatorAction,
    DeadLetterEntry,
    DeadLetterView,
    DeadLetterGroup,
    LetterForecast,
    FoundCase,
)


def paths(refusals: Any) -> Json:
    """The paths; `refusals` makes the responses of these HTTP statuses."""
    acted: Json = {"200": _answer("Done", _ref(OperatorAction)), "202": _answer("Waits", _ref(OperatorAction))}
    acted["202"]["description"] = "Waits for a second operator"
    replayed = acted | {
        "200": _answer("Done, or foretold", {"anyOf": [_ref(OperatorAction), _object(forecasts=_list(LetterForecast))]})
    }
    decided = {"200": _answer("What became of it", _ref(OperatorAction))}
    view = {"200": _answer("The letter", _ref(DeadLetterView))}
    difference = {"200": _answer("The difference", _object(difference={"type": "string"}))}
    taken = {"200": _answer("How many", _object(taken={"type": "integer"}))}
    letter, action = _id("letter_id"), _id("action_id")

    def get(name: str, summary: str, found: Json, parameters: list[Json]) -> Json:
        return {"get": _operation(name, summary, {**found, **refusals(*_GET)}, parameters)}

    def post(
        name: str, summary: str, model: type[BaseModel] | None, found: Json, parameters: list[Json] | None = None
    ) -> Json:
        return {"post": _operation(name, summary, {**found, **refusals(*_POST)}, parameters or [], model)}

    listed = {"200": _answer("Oldest first", _object(letters=_list(DeadLetterEntry), total={"type": "integer"}))}
    grouped = {"200": _answer("Largest first", _object(by={"type": "string"}, groups=_list(DeadLetterGroup)))}
    actions = {"200": _answer("Newest first", _object(actions=_list(OperatorAction)))}
    return {
        _LETTERS: get("list_dead_letters", "Dead letters", listed, [*_FILTERS, *_PAGE]),
        f"{_LETTERS}/groups": get("group_dead_letters", "Dead letters counted", grouped, [_GROUP_BY, *_FILTERS]),
        f"{_LETTERS}/take": post("take_dead_letters", "Look after letters", TakeAsked, taken),
        f"{_LETTERS}/replay": post("replay_dead_letters", "Replay letters, or foretell it", ReplayAsked, replayed),
        f"{_LETTERS}/discard": post("discard_dead_letters", "Set letters aside for good", DiscardAsked, acted),
        f"{_LETTERS}/{{letter_id}}": get("get_dead_letter", "One letter, explained", view, [letter]),
        f"{_LETTERS}/{{letter_id}}/edit": post(
            "edit_dead_letter", "Change what a replay will send", EditAsked, difference, [letter]
        ),
        f"{_LETTERS}/{{letter_id}}/reveal": post(
            "reveal_dead_letter", "One letter with personal data; recorded", ReasonGiven, view, [letter]
        ),
        _ACTIONS: {
            **get("list_actions", "Operators' actions, those that wait by default", actions, [*_ACTION_FILTERS]),
            **post("request_action", "Ask for an action of any kind", ActionAsked, acted),
        },
        f"{_ACTIONS}/{{action_id}}": get("get_action", "One action", decided, [action]),
        f"{_ACTIONS}/{{action_id}}/approve": post(
            "approve_action", "Carry out what another operator asked for", None, decided, [action]
        ),
        f"{_ACTIONS}/{{action_id}}/reject": post(
            "reject_action", "Say no, or withdraw one's own", ReasonGiven, decided, [action]
        ),
        **_standing(get, post, acted),
    }


def _standing(get: Callable[..., Json], post: Callable[..., Json], acted: Json) -> Json:
    """Doubts, payers and incidents."""
    leg = [_path("case_id", type="string", format="uuid"), _id("leg_no")]
    doubts = {"200": _answer("Oldest first", _object(doubts=_THINGS, total={"type": "integer"}))}
    doubt = {"200": _answer("The leg, what was said, and the choices", {"type": "object"})}
    payers = {"200": _answer("By code", _object(payers=_THINGS))}
    incidents = {"200": _answer("Newest first", _object(open={"type": "object"}, incidents=_THINGS))}
    found = {"200": _answer("Newest first", _object(cases=_list(FoundCase)))}
    flag: Json = {"type": "integer", "minimum": 0, "maximum": 1, "default": 0}
    choice, switch = _path("choice", enum=list(CHOICES)), _path("switch", enum=list(SWITCHES))
    return {
        f"{ROOT}/doubts": get(
            "list_doubts", "Payers without a word, undos without a confirmation", doubts,
            [_query("payer"), _query("needs_people", **flag), _LIMIT],
        ),
        f"{ROOT}/doubts/{{case_id}}/{{leg_no}}": get("get_doubt", "One leg, explained", doubt, leg),
        f"{ROOT}/doubts/{{case_id}}/{{leg_no}}/{{choice}}": post(
            "decide_doubt", "Ask for what people may do about a leg", DecisionAsked, acted, [*leg, choice]
        ),
        f"{ROOT}/payers": get("list_payers", "How payers fare", payers, []),
        f"{ROOT}/payers/{{payer}}/{{switch}}": post(
            "switch_payer", "Stop calls to a payer, or to all, or let them go on", ReasonGiven, acted,
            [_path("payer"), switch],
        ),
        f"{ROOT}/cases": get(
            "list_cases_by_key", "Cases by any number but a person's", found,
            [_query("q", minLength=1, maxLength=KEY_MAX), _LIMIT],
        ),
        f"{ROOT}/cases/find": post("find_cases", "Cases by any number, a person's too", CaseWanted, found),
        f"{ROOT}/incidents": get(
            "list_incidents", "What is wrong, and what to do", incidents,
            [_query("kind"), _query("recovered", **flag), _LIMIT],
        ),
    }  # fmt: skip


def _operation(
    name: str, summary: str, responses: Json, parameters: list[Json], model: type[BaseModel] | None = None
) -> Json:
    operation: Json = {"operationId": name, "summary": summary, "security": SECURITY, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if model is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref(model)}}}
    return operation


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(model: type[BaseModel]) -> Json:
    return {"type": "array", "items": _ref(model)}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _id(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


def _path(name: str, **schema: Any) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def _query(name: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string", **schema}}


_THINGS: Json = {"type": "array", "items": {"type": "object"}}
_GROUP_BY = _query("by", enum=list(GROUPINGS), default="cause")
_FILTERS = (
    _query("state", enum=["open", "replayed", "discarded", "all"], default="open"),
    *(_query(name) for name in ("cause", "queue", "type", "owner", "message_id")),
    _query("older_than_s", type="integer", minimum=0),
)
_LIMIT = _query("limit", type="integer", minimum=1, maximum=LIMIT_MAX, default=50)
_PAGE = (_LIMIT, _query("after", type="integer", minimum=0, default=0))
_ACTION_FILTERS = (
    _query("state", enum=[*(state.value for state in ActionState), "all"], default="requested"),
    _query("kind"),
    _query("subject"),
    _LIMIT,
)
