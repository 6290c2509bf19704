"""Every incident says in plain words what is wrong, what happens next, and which command to run."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from hub.cli.app import app
from hub.incident_words import KINDS, group_words, words

CASE = "01890000-0000-7000-8000-000000000001"
SINCE = "2026-03-02T01:15:00.123456+00:00"
LATER = "2026-03-02T01:20:00+00:00"


def a_leg(state: str, next_at: str | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "case_id": CASE,
        "institution": "H1",
        "settlement_no": "S-1",
        "leg_no": 2,
        "payer": "CICI",
        "state": state,
        "since": SINCE,
        "next_at": next_at,
        "reason_code": "answer_lost",
        "attempts": 1,
        "inquiries": 3,
        "undo_attempts": 0,
    } | changes


def a_case(*legs: dict[str, Any], state: str = "open") -> dict[str, Any]:
    return {
        "case_id": CASE,
        "institution": "H1",
        "settlement_no": "S-1",
        "state": state,
        "since": SINCE,
        "legs": list(legs),
    }


_NOTICE = {
    "notice": "01a200bdb7a372fb8ef80d4438d1e175-n",
    "payer": "CICI",
    "transaction": "admission.register",
    "institution": "H44030000001",
    "visit_no": "V-1",
    "since": SINCE,
    "attempts": 3,
    "reason_code": "",
}
_DAY = {"payer": "CICI", "scheme": "daily", "day": "2026-03-02"}
FACTS: dict[str, dict[str, Any]] = {
    "case.overdue": a_case(a_leg("in_doubt")),
    "leg.in_doubt": a_leg("in_doubt"),
    "leg.held": a_leg("held"),
    "undo.held": a_leg("cancel_held"),
    "payer.down": {"payer": "CICI", "since": SINCE, "processes": 3, "processes_open": 2, "last_error": "timeout"},
    "payer.stopped": {"payer": "CICI", "since": SINCE, "changed_by": "lin", "reason": "maintenance"},
    "dead_letter.open": {"cause": "message.malformed", "count": 3, "since": SINCE},
    "outbox.stuck": {"queue": "broker", "since": SINCE, "rows_at_least": 12},
    "notice.late": _NOTICE | {"state": "waiting"},
    "notice.refused": _NOTICE | {"state": "refused", "reason_code": "no_policy"},
    "staging.unreachable": {"party": "H44030000001", "since": SINCE, "error": "OperationalError"},
    "staging.waiting": {"party": "H44030000001", "since": SINCE, "rows_at_least": 12},
    "action.waiting": {
        "action": 7,
        "kind": "dlq.replay",
        "about": "dead_letter/3",
        "requested_by": "lin",
        "since": SINCE,
    },
    "recon.difference": _DAY
    | {
        "count": 2,
        "count_max": 1000,
        "counts": {"amount": 1, "missing_at_hub": 1},
        "off_by": "-0.10",
        "first": [f"{CASE}/2: amount, theirs 74.90, ours 75.00"],
        "case_id": CASE,
        "since": SINCE,
    },
    "recon.statement_late": _DAY | {"due": LATER, "pulled": True, "error": "unavailable"},
    "recon.breaks_open": _DAY | {"run": 7, "open": 2, "waiting": 1, "classes": {"amount": 3}, "since": SINCE},
    "recon.run_failed": _DAY | {"run": 7, "failure": "", "since": SINCE},
    "recon.correction_left": {
        "case_id": CASE,
        "leg_no": 2,
        "payer": "CICI",
        "institution": "H1",
        "settlement_no": "S-1",
        "amount": "-0.01",
        "day": "2026-03-02",
        "since": SINCE,
    },
    "invariant.broken": {"code": "I03", "rule": "r", "count": 1, "count_max": 1000, "first": ["case/1: off by a fen"]},
    "invariant.unchecked": {"code": "I03", "error": "it took too long"},
    "watch.late": {"since": SINCE, "until": LATER},
    "alert.undelivered": {"count": 2, "since": SINCE, "last_error": "HTTP 503"},
}


def test_every_kind_is_known_here() -> None:
    assert set(FACTS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_words_and_a_next_step(kind: str) -> None:
    said = words(kind, "subject", FACTS[kind])

    assert said.summary != f"{kind}: subject"
    assert said.next_step
    assert "None" not in said.summary + said.next_step + said.command


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_that_is_named_exists(kind: str) -> None:
    command: Any = typer.main.get_command(app)
    named = words(kind, "subject", FACTS[kind]).command.split()
    assert named.pop(0) == "hub"

    while hasattr(command, "commands"):
        command = command.commands[named.pop(0)]

    options = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in named if word.startswith("--")} <= options


@pytest.mark.parametrize("kind", [*KINDS, "of.tomorrow"])
def test_facts_of_another_version_are_no_reason_to_fall_over(kind: str) -> None:
    assert words(kind, "subject", {}).summary == f"{kind}: subject"


@pytest.mark.parametrize("state", ["in_doubt", "reversing", "cancelling"])
def test_whether_the_hub_goes_on_or_people_must_is_said(state: str) -> None:
    goes_on = words("case.overdue", "", a_case(a_leg(state, next_at=LATER)))
    used_up = words("case.overdue", "", a_case(a_leg(state)))

    assert goes_on.next_step == "the hub goes on by itself; next attempt 2026-03-02T01:20:00Z"
    assert goes_on.command == f"hub case show {CASE}"
    assert used_up.next_step.startswith("needs you")
    assert used_up.command == f"hub doubt show {CASE}/2"


def test_a_case_that_waits_for_nobody_is_a_defect() -> None:
    assert "defect" in words("case.overdue", "", a_case()).next_step


def test_what_is_held_needs_people_whatever_is_planned() -> None:
    assert words("leg.held", "", a_leg("held", next_at=LATER)).next_step.startswith("needs you")


def test_everybody_stopped_is_released_with_one_word() -> None:
    said = words("payer.stopped", "", FACTS["payer.stopped"] | {"payer": "*"})

    assert said.summary.startswith("all payers are stopped by lin")
    assert said.command.startswith("hub payer resume all ")


def test_a_group_says_how_it_is_spread() -> None:
    said = group_words("case.overdue", 500, {"CICI": 498, "PINGHE": 2})

    assert said.summary == "500 × case.overdue (CICI 498, PINGHE 2)"
    assert said.command == "hub incident list --kind case.overdue"
