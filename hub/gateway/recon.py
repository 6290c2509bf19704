"""Reconciliation for operators over HTTP: runs, breaks, the report of a day, remedies, signatures and seals."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.gateway.batched import BatchedCalls
from hub.gateway.identity import OfficeDoor
from hub.gateway.operators import LIMIT_MAX, ROOT
from hub.gateway.reading import check_content_type, read_body, whole_number
from hub.gateway.recon_desk import STATES, ApplyAsked, ReconDesk, RunAsked, Signed
from hub.gateway.transactions import JSON
from hub.people import views
from hub.recon.report import BREAKS_MAX, Report
from routing.days import FIRST_DAY, LAST_DAY
from schemas.base import Model, read_message
from schemas.errors import InvalidMessage, NotFound, OutcomeUnknown, Violation
from schemas.statement import BreakClass
from store.actions import Action, ActionState

log = structlog.get_logger()

RECON = f"{ROOT}/recon"
IN_TIME_S = 10.0
REPORT_S_MAX = 120.0
RUN_S_MAX = 20.0
"""A run of a large day goes on behind an answer that says so."""
SEALS_MAX = 1_000
AFTER_MAX = 999_999_999
FORMS = ("html", "excel", "json")
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class ReconEndpoints:
    """The endpoints below /api/v1/operators/recon."""

    def __init__(self, door: OfficeDoor, desk: ReconDesk, calls: BatchedCalls[Callable[[], Any], Any]) -> None:
        self._door = door
        self._desk = desk
        self._calls = calls

    def routes(self) -> list[Route]:
        """Path, handler and method of each endpoint; named ones before those that take a day."""
        get: dict[str, Any] = {
            f"{RECON}/breaks": self.breaks,
            f"{RECON}/breaks/{{break_id}}": self.one_break,
            f"{RECON}/runs/{{run_id}}": self.run,
            f"{RECON}/seals": self.seals,
            f"{RECON}/{{day}}": self.day,
            f"{RECON}/{{day}}/report": self.report,
        }
        post: dict[str, Any] = {
            f"{RECON}/runs/{{run_id}}/apply": self.apply,
            f"{RECON}/runs/{{run_id}}/sign-off": self.sign_off,
            f"{RECON}/{{day}}/run": self.make_run,
            f"{RECON}/{{day}}/seal": self.seal,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in get.items()] + [
            Route(path, handler, methods=["POST"]) for path, handler in post.items()
        ]

    async def day(self, request: Request) -> Response:
        """The runs of a day, its statements and its seal, and where its report is."""
        self._operator(request)
        day = _day(request)
        found = await self._do(partial(self._desk.day, day))
        return _json({**found, "report": f"{RECON}/{day}/report"})

    async def report(self, request: Request) -> Response:
        """The report of a day; `form` html (a page that prints), excel or json."""
        self._operator(request)
        day, form = _day(request), request.query_params.get("form", "html")
        if form not in FORMS:
            raise _bad_query("form", f"send one of {', '.join(FORMS)}")
        limit = whole_number(request, "breaks", BREAKS_MAX, 0, 10_000)
        made = await self._do(partial(_written, self._desk, day, form, limit), REPORT_S_MAX)
        if form == "html":
            return Response(made, media_type="text/html; charset=utf-8", headers=SAFE)
        if form == "excel":
            named = {"Content-Disposition": f'attachment; filename="reconciliation-{day}.xlsx"'}
            return Response(made, media_type=EXCEL, headers=SAFE | named)
        return Response(made, media_type=JSON)

    async def run(self, request: Request) -> Response:
        """One run with its totals, its items by class and the switches that it was made with."""
        self._operator(request)
        return _json(await self._do(partial(self._desk.run, _number(request, "run_id", "run.not_found"))))

    async def breaks(self, request: Request) -> Response:
        """Breaks of a day's standing runs or of one run, by number; `after` continues a list."""
        self._operator(request)
        given = request.query_params
        limit = whole_number(request, "limit", 50, 1, LIMIT_MAX)
        after = whole_number(request, "after", 0, 0, AFTER_MAX)
        run_id = whole_number(request, "run", 0, 1, AFTER_MAX) if "run" in given else None
        day = _checked_day(given["day"]) if "day" in given else None
        if day is None and run_id is None:
            raise _bad_query("day", "name a day or a run")
        names = {name: given.get(name, "") for name in ("party", "class", "state")}
        if any("\0" in value for value in names.values()):
            raise _bad_query("filter", "leave control characters out")
        # A misspelt word would find nothing, which reads like good news.
        for name, known in (("class", [one.value for one in BreakClass]), ("state", STATES)):
            if names[name] and names[name] not in known:
                raise _bad_query(name, f"use one of {', '.join(known)}")
        listed = partial(
            self._desk.breaks, day=day, run_id=run_id, party=names["party"], break_class=names["class"],
            state=names["state"], after=after, limit=limit,
        )  # fmt: skip
        return _json(await self._do(listed))

    async def one_break(self, request: Request) -> Response:
        """One break."""
        self._operator(request)
        return _json(await self._do(partial(self._desk.one_break, _number(request, "break_id", "break.not_found"))))

    async def seals(self, request: Request) -> Response:
        """The sealed days, the newest first."""
        self._operator(request)
        return _json(await self._do(partial(self._desk.seals, whole_number(request, "last", 31, 1, SEALS_MAX))))

    async def make_run(self, request: Request) -> Response:
        """Compare a party's books now: what came of it (200), or that it goes on (202)."""
        by, asked = self._operator(request), await _read(request, RunAsked)
        day = _day(request)
        try:
            return _json(await self._do(partial(self._desk.make_run, day, asked, by), RUN_S_MAX))
        except OutcomeUnknown:
            return _json({"party": asked.party, "scheme": asked.scheme, "day": str(day), "state": "running"}, 202)

    async def apply(self, request: Request) -> Response:
        """Have remedies carried out: done (200), waiting for a second person (202), or foretold."""
        by, asked = self._operator(request), await _read(request, ApplyAsked)
        run_id = _number(request, "run_id", "run.not_found")
        if asked.dry_run:
            return _json(await self._do(partial(self._desk.foretell, run_id, asked, by), RUN_S_MAX))
        return _acted(await self._do(partial(self._desk.apply, run_id, asked, by), RUN_S_MAX))

    async def sign_off(self, request: Request) -> Response:
        """Ask for the signature under a run; a second person must approve."""
        by, asked = self._operator(request), await _read(request, Signed)
        return _acted(
            await self._do(partial(self._desk.sign_off, _number(request, "run_id", "run.not_found"), asked, by))
        )

    async def seal(self, request: Request) -> Response:
        """Ask for the seal on a day; a second person must approve."""
        by, asked = self._operator(request), await _read(request, Signed)
        return _acted(await self._do(partial(self._desk.seal, _day(request), asked, by)))

    def _operator(self, request: Request) -> str:
        return self._door.operator_of(request.headers.get("authorization"), request.headers.get("x-operator"))

    async def _do(self, call: Callable[[], Any], within_s: float = IN_TIME_S) -> Any:
        return await self._calls(call, within_s)


def _written(desk: ReconDesk, day: date, form: str, breaks_max: int) -> bytes:
    """The report in one of FORMS."""
    report = desk.report(day, breaks_max)
    return _FORMS[form](report)


def _html(report: Report) -> bytes:
    from hub.recon.report_html import as_html

    return as_html(report).encode()


def _excel(report: Report) -> bytes:
    from hub.recon.report_excel import write_excel

    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        target = Path(folder, "report.xlsx")
        write_excel(report, target)
        return target.read_bytes()


def _as_json(report: Report) -> bytes:
    from hub.recon.report import as_dict

    return orjson.dumps(as_dict(report), default=str)


_FORMS = {"html": _html, "excel": _excel, "json": _as_json}


async def _read(request: Request, model: type[Model]) -> Model:
    check_content_type(request)
    return read_message(model, await read_body(request))


def _day(request: Request) -> date:
    try:
        return _checked_day(str(request.path_params["day"]))
    except InvalidMessage:
        raise NotFound("no day is written like that", code="recon.not_found") from None


def _checked_day(given: str) -> date:
    try:
        if _DAY.fullmatch(given) and FIRST_DAY <= (day := date.fromisoformat(given)) <= LAST_DAY:
            return day
    except ValueError:
        pass
    raise _bad_query("day", "write the day as 2026-01-31")


def _number(request: Request, name: str, missing: str) -> int:
    given = str(request.path_params[name])
    if not _ID.fullmatch(given):
        raise NotFound("no number of anything", code=missing)
    return int(given)


def _bad_query(name: str, remedy: str) -> InvalidMessage:
    return InvalidMessage("", Violation(name, f"query.{name}", remedy), code="query.invalid")


def _acted(action: Action) -> Response:
    status: Literal[200, 202] = 202 if action.state is ActionState.REQUESTED else 200
    log.info("operator_action", id=action.id, kind=action.kind, state=action.state, by=action.requested_by)
    return _json(views.action_as_dict(action), status)


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content, default=str), status, media_type=JSON)
