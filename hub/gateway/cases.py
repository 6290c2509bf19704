"""GET of cases: how one stands and why, what happened to it, and finding it by the hospital's own number."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.gateway.batched import BatchedCalls
from hub.gateway.courier import IN_TIME_S
from hub.gateway.identity import Doorkeeper
from hub.gateway.transactions import JSON
from hub.gateway.views import CaseView, CaseViews
from hub.ports import Clock
from schemas.errors import InvalidMessage, NotFound, Violation

_CASE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SETTLEMENT_NO = re.compile(r"[0-9A-Za-z._:-]{1,64}", re.ASCII)


class Cases:
    """The endpoints below /api/v1/cases. A case is its institution's: to anybody else it does not exist."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        views: BatchedCalls[str, CaseView | None],
        calls: BatchedCalls[Callable[[], Any], Any],
        reader: CaseViews,
        clock: Clock,
    ) -> None:
        self._doorkeeper = doorkeeper
        self._views = views
        self._calls = calls
        self._reader = reader
        self._clock = clock

    async def get(self, request: Request) -> Response:
        """The newest answer with the explanation of the route."""
        view = await self._own(request)
        return Response(await self._explained(view), media_type=JSON)

    async def timeline(self, request: Request) -> Response:
        """What happened, in order."""
        view = await self._own(request)
        events = await self._calls(partial(self._reader.history, view.case), IN_TIME_S)
        content = {"case_id": view.case.case_id, "events": [event.as_dict() for event in events]}
        return Response(orjson.dumps(content), media_type=JSON)

    async def find(self, request: Request) -> Response:
        """The case of a settlement number, as a list of none or one."""
        party = self._speaker(request)
        number = request.query_params.get("settlement_no", "")
        if not _SETTLEMENT_NO.fullmatch(number):
            remedy = "name the settlement number that was sent: 1 to 64 letters, digits and . _ : -"
            violation = Violation("settlement_no", "query.settlement_no", remedy)
            raise InvalidMessage("", violation, code="query.invalid")
        view = await self._calls(partial(self._reader.by_number, party, number), IN_TIME_S)
        found = [] if view is None else [orjson.Fragment(await self._explained(view))]
        return Response(orjson.dumps({"cases": found}), media_type=JSON)

    async def _own(self, request: Request) -> CaseView:
        party = self._speaker(request)
        case_id = request.path_params["case_id"]
        view = await self._views(case_id, IN_TIME_S) if _CASE_ID.fullmatch(case_id) else None
        if view is None or view.case.institution != party:
            raise NotFound("no such case of this party")
        return view

    async def _explained(self, view: CaseView) -> bytes:
        body: bytes = await self._calls(partial(self._reader.explained, view, self._clock.now()), IN_TIME_S)
        return body

    def _speaker(self, request: Request) -> str:
        return self._doorkeeper.party_of(request.headers.get("authorization"), request.headers.get("x-party"))
