"""What operators can do over HTTP: dead letters and actions, as at the command line. No party's token opens it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
import structlog
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.gateway.batched import BatchedCalls
from hub.gateway.courier import IN_TIME_S
from hub.gateway.identity import OfficeDoor
from hub.gateway.reading import check_content_type, read_body, whole_number
from hub.gateway.standing import CaseWanted, DecisionAsked, Standing
from hub.gateway.transactions import JSON
from hub.people import views
from hub.people.dead_letters import AT_ONCE_MAX, LetterView
from hub.people.finding import names_a_person
from hub.people.office import Office
from hub.people.operators import REASON_MAX
from hub.ports import Clock
from schemas.base import Model, Text, Value, read_message
from schemas.errors import InvalidMessage, NotFound, Violation
from store.actions import Action, ActionState
from store.dead_letters import LetterFilter, StoredLetter

log = structlog.get_logger()

ROOT = "/api/v1/operators"
LIMIT_MAX = 500
AGE_S_MAX = 999_999_999
Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX)]
LetterIds = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2**63 - 1)], ...], Field(min_length=1, max_length=AT_ONCE_MAX)
]
T = TypeVar("T")
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class LettersWhere(Value):
    """Open letters that have these things in common; an empty one means all open letters."""

    cause: str = ""
    queue: str = ""
    type: str = ""
    owner: str = ""
    older_than_s: Annotated[int, Field(ge=0, le=AGE_S_MAX)] = 0


class _Selection(Value):
    letters: LetterIds | None = None
    where: LettersWhere | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.letters is None) == (self.where is None):
            raise PydanticCustomError("letters.selection", "letters: name letters, or send `where`, not both")
        return self


class ReplayAsked(_Selection):
    """Replay letters, or (`dry_run`) only say what would happen to each."""

    reason: Annotated[str, Field(max_length=REASON_MAX)] = ""
    dry_run: bool = False


class DiscardAsked(_Selection):
    """Set letters aside for good."""

    reason: Reason


class TakeAsked(Value):
    """Look after letters; `owner` gives them to somebody else, "" to nobody."""

    letters: LetterIds
    owner: str | None = None


class EditAsked(Value):
    """What a replay of one letter will send, as text; null for the body as it came."""

    body: str | None
    reason: Reason


class ReasonGiven(Value):
    """Why."""

    reason: Reason


class ActionAsked(Value):
    """Any kind of action, such as `doubt.ask` about `leg/<case id>/<leg no>`."""

    kind: Text
    subject: Text
    detail: dict[str, Any] = Field(default_factory=dict)
    reason: Reason


class Operators:
    """The endpoints below /api/v1/operators."""

    def __init__(
        self,
        door: OfficeDoor,
        office: Office,
        calls: BatchedCalls[Callable[[], Any], Any],
        clock: Clock,
        standing: Standing,
    ) -> None:
        self._door = door
        self._standing = standing
        self._office = office
        self._calls = calls
        self._clock = clock

    def routes(self) -> list[Route]:
        """Path, handler and method of each endpoint."""
        letters, actions = f"{ROOT}/dead-letters", f"{ROOT}/actions"
        get: dict[str, Any] = {
            letters: self.letters,
            f"{letters}/groups": self.groups,
            f"{letters}/{{letter_id}}": self.letter,
            actions: self.actions,
            f"{actions}/{{action_id}}": self.action,
            f"{ROOT}/doubts": self.doubts,
            f"{ROOT}/doubts/{{case_id}}/{{leg_no}}": self.doubt,
            f"{ROOT}/payers": self.payers,
            f"{ROOT}/incidents": self.incidents,
            f"{ROOT}/cases": self.cases,
        }
        post: dict[str, Any] = {
            f"{letters}/take": self.take,
            f"{letters}/replay": self.replay,
            f"{letters}/discard": self.discard,
            f"{letters}/{{letter_id}}/edit": self.edit,
            f"{letters}/{{letter_id}}/reveal": self.reveal,
            actions: self.request,
            f"{actions}/{{action_id}}/approve": self.approve,
            f"{actions}/{{action_id}}/reject": self.reject,
            f"{ROOT}/doubts/{{case_id}}/{{leg_no}}/{{choice}}": self.decide,
            f"{ROOT}/payers/{{payer}}/{{switch}}": self.turn,
            f"{ROOT}/cases/find": self.find_case,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in get.items()] + [
            Route(path, handler, methods=["POST"]) for path, handler in post.items()
        ]

    # Dead letters.

    async def letters(self, request: Request) -> Response:
        """Open letters of a filter, the oldest first; `after` continues a list."""
        self._operator(request)
        wanted = self._filter(request)
        limit, after = whole_number(request, "limit", 50, 1, LIMIT_MAX), whole_number(request, "after", 0, 0, AGE_S_MAX)
        found = await self._do(partial(self._office.dead_letters.listed, wanted, limit=limit, after=after))
        total = await self._do(partial(self._office.dead_letters.count, wanted))
        return _json({"letters": [views.listed_as_dict(one) for one in found], "total": total})

    async def groups(self, request: Request) -> Response:
        """Open letters counted by what they have in common."""
        self._operator(request)
        by = request.query_params.get("by", "cause")
        found = await self._do(partial(self._office.dead_letters.groups, self._filter(request), by))
        return _json({"by": by, "groups": [views.group_as_dict(one) for one in found]})

    async def letter(self, request: Request) -> Response:
        """One letter with diagnosis, forecast and trail, personal data hidden."""
        self._operator(request)
        view: LetterView = await self._do(partial(self._office.dead_letters.show, _letter_id(request)))
        return _json(views.as_dict(view))

    async def reveal(self, request: Request) -> Response:
        """The same with personal data; who looked and why is recorded."""
        by, asked = self._operator(request), await _read(request, ReasonGiven)
        letter_id, letters = _letter_id(request), self._office.dead_letters
        await self._do(partial(letters.reveal, letter_id, asked.reason, by))
        return _json(views.as_dict(await self._do(partial(letters.show, letter_id)), reveal=True))

    async def take(self, request: Request) -> Response:
        """Own letters."""
        by, asked = self._operator(request), await _read(request, TakeAsked)
        taken = await self._do(partial(self._office.dead_letters.take, asked.letters, by, owner=asked.owner))
        return _json({"taken": taken})

    async def edit(self, request: Request) -> Response:
        """Change what a replay will send; the answer is the difference."""
        by, asked = self._operator(request), await _read(request, EditAsked)
        body = None if asked.body is None else asked.body.encode()
        edit = partial(self._office.dead_letters.edit, _letter_id(request), body, asked.reason, by)
        return _json({"difference": await self._do(edit)})

    async def replay(self, request: Request) -> Response:
        """Replay: done (200), waiting for a second person (202), or foretold."""
        by, asked = self._operator(request), await _read(request, ReplayAsked)
        found = await self._do(partial(self._selected, asked))
        if asked.dry_run:
            told = await self._do(partial(self._office.dead_letters.forecasts, found))
            return _json({"forecasts": [views.forecast_as_dict(one) for one in told]})
        return _acted(await self._do(partial(self._office.dead_letters.replay, found, asked.reason, by)))

    async def discard(self, request: Request) -> Response:
        """Discard: done (200) or waiting for a second person (202)."""
        by, asked = self._operator(request), await _read(request, DiscardAsked)
        found = await self._do(partial(self._selected, asked))
        return _acted(await self._do(partial(self._office.dead_letters.discard, found, asked.reason, by)))

    # Actions.

    async def actions(self, request: Request) -> Response:
        """Actions, the newest first; by default those that wait."""
        self._operator(request)
        state = request.query_params.get("state", ActionState.REQUESTED)
        if state != "all" and state not in set(ActionState):
            raise _bad_query("state", f"send all or one of {', '.join(ActionState)}")
        limit = whole_number(request, "limit", 50, 1, LIMIT_MAX)
        kind, subject = (request.query_params.get(name, "") for name in ("kind", "subject"))
        wanted = "" if state == "all" else state
        listed = partial(self._office.actions.listed, state=wanted, kind=kind, subject=subject, limit=limit)
        return _json({"actions": [views.action_as_dict(one) for one in await self._do(listed)]})

    async def action(self, request: Request) -> Response:
        """One action."""
        self._operator(request)
        return _json(views.action_as_dict(await self._do(partial(self._office.actions.get, _action_id(request)))))

    async def request(self, request: Request) -> Response:
        """Ask for an action of any kind."""
        by, asked = self._operator(request), await _read(request, ActionAsked)
        ask = partial(self._office.actions.request, asked.kind, asked.subject, asked.detail, asked.reason, by)
        return _acted(await self._do(ask))

    async def approve(self, request: Request) -> Response:
        """The second person's yes."""
        by = self._operator(request)
        return _acted(await self._do(partial(self._office.actions.approve, _action_id(request), by)))

    async def reject(self, request: Request) -> Response:
        """The second person's no, or a withdrawal."""
        by, asked = self._operator(request), await _read(request, ReasonGiven)
        return _acted(await self._do(partial(self._office.actions.reject, _action_id(request), by, asked.reason)))

    # What stands open.

    async def doubts(self, request: Request) -> Response:
        """Open doubts; `needs_people=1` those that do not resolve themselves."""
        self._operator(request)
        payer, people = request.query_params.get("payer", ""), whole_number(request, "needs_people", 0, 0, 1)
        limit = whole_number(request, "limit", 50, 1, LIMIT_MAX)
        return _json(await self._do(partial(self._standing.doubts, payer, bool(people), limit)))

    async def doubt(self, request: Request) -> Response:
        """One leg with what was said and what may be done."""
        self._operator(request)
        return _json(await self._do(partial(self._standing.doubt, *_named(request, "case_id", "leg_no"))))

    async def decide(self, request: Request) -> Response:
        """Ask for what people may do about a leg."""
        by, asked = self._operator(request), await _read(request, DecisionAsked)
        case_id, leg_no, choice = _named(request, "case_id", "leg_no", "choice")
        return _acted(await self._do(partial(self._standing.decide, case_id, leg_no, choice, asked, by)))

    async def payers(self, request: Request) -> Response:
        """How every payer fares."""
        self._operator(request)
        return _json(await self._do(self._standing.payers))

    async def turn(self, request: Request) -> Response:
        """Stop a payer or let it go on."""
        by, asked = self._operator(request), await _read(request, ReasonGiven)
        payer, switch = _named(request, "payer", "switch")
        return _acted(await self._do(partial(self._standing.turn, payer, switch, asked.reason, by)))

    async def incidents(self, request: Request) -> Response:
        """What is wrong now; `recovered=1` what is over, too."""
        self._operator(request)
        kind, over = request.query_params.get("kind", ""), whole_number(request, "recovered", 0, 0, 1)
        limit = whole_number(request, "limit", 50, 1, LIMIT_MAX)
        return _json(await self._do(partial(self._standing.incidents, kind, bool(over), limit)))

    async def cases(self, request: Request) -> Response:
        """The cases that go by `q`, the newest first. No identity number: addresses are written into logs."""
        self._operator(request)
        key, limit = request.query_params.get("q", ""), whole_number(request, "limit", 50, 1, LIMIT_MAX)
        if names_a_person(key):
            raise _bad_query("q", f"send an identity number in the body, by POST to {ROOT}/cases/find")
        return _json(await self._do(partial(self._standing.cases, key, limit)))

    async def find_case(self, request: Request) -> Response:
        """The same with the key in the body, where an identity number may stand."""
        self._operator(request)
        asked = await _read(request, CaseWanted)
        return _json(await self._do(partial(self._standing.cases, asked.q, asked.limit)))

    def _operator(self, request: Request) -> str:
        return self._door.operator_of(request.headers.get("authorization"), request.headers.get("x-operator"))

    def _filter(self, request: Request) -> LetterFilter:
        given = request.query_params
        state = given.get("state", "open")
        if state not in ("open", "replayed", "discarded", "all"):
            raise _bad_query("state", "send open, replayed, discarded or all")
        names = {name: given.get(name, "") for name in ("cause", "queue", "type", "owner", "message_id")}
        if any("\0" in value for value in names.values()):
            raise _bad_query("filter", "leave control characters out")
        age_s = whole_number(request, "older_than_s", 0, 0, AGE_S_MAX)
        return LetterFilter("" if state == "all" else state, **names, died_before=self._before(age_s))

    def _before(self, age_s: int) -> Any:
        return self._clock.now() - timedelta(seconds=age_s) if age_s else None

    def _selected(self, asked: _Selection) -> list[StoredLetter]:
        letters = self._office.dead_letters
        if asked.letters is not None:
            return [letters.get(one) for one in dict.fromkeys(asked.letters)]
        assert asked.where is not None
        where = asked.where.model_dump(exclude={"older_than_s"})
        wanted = LetterFilter(**where, died_before=self._before(asked.where.older_than_s))
        found = letters.listed(wanted, limit=AT_ONCE_MAX + 1)
        if not found:
            raise NotFound("no open letters are like that", code="dead_letter.not_found")
        if len(found) > AT_ONCE_MAX:
            remedy = f"name at most {AT_ONCE_MAX} letters at once; narrow `where`"
            raise InvalidMessage("too many", Violation("where", "letters.too_many", remedy), code="operator.invalid")
        return found

    async def _do(self, call: Callable[[], T]) -> T:
        result: T = await self._calls(call, IN_TIME_S)
        return result


async def _read(request: Request, model: type[Model]) -> Model:
    check_content_type(request)
    return read_message(model, await read_body(request))


def _named(request: Request, *names: str) -> list[str]:
    return [str(request.path_params[name]) for name in names]


def _letter_id(request: Request) -> int:
    return _number(request.path_params["letter_id"], "dead_letter.not_found")


def _action_id(request: Request) -> int:
    return _number(request.path_params["action_id"], "action.not_found")


def _number(given: str, missing: str) -> int:
    if not _ID.fullmatch(given):
        raise NotFound("no number of anything", code=missing)
    return int(given)


def _bad_query(name: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("", Violation(name, f"query.{name}", remedy), code="query.invalid")


def _acted(action: Action) -> Response:
    status: Literal[200, 202] = 202 if action.state is ActionState.REQUESTED else 200
    log.info(
        "operator_action",
        id=action.id,
        kind=action.kind,
        state=action.state,
        by=action.requested_by,
        second=action.decided_by,
    )
    return _json(views.action_as_dict(action), status)


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type=JSON)
