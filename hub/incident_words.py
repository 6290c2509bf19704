"""Incidents in plain words: what is wrong, what happens next, and the command to run. Pure; facts in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.counting import how_many

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """`summary` says what is wrong; `next_step` what happens by itself or what you must do; `command` how to look."""

    summary: str
    next_step: str
    command: str


_DOES = {
    "planned": "has not been asked yet",
    "claimed": "was asked and has not answered",
    "in_doubt": "may have been heard and gave no usable answer",
    "held": "gave an answer that contradicts itself",
    "cancelling": "has not confirmed the undo",
    "cancel_held": "has not undone its part and will not by itself",
    "reversing": "has not confirmed the reversal",
}
_TODO = {
    "held": "needs you: compare its answer with its books, then enter what is true or have it undone",
    "cancel_held": "needs you: have its people take it back, then say so, or have the hub try again",
}
_BY_PEOPLE = ("held", "cancel_held")
_BY_THE_HUB = ("in_doubt", "reversing", "cancelling")
"""As long as it has a next attempt."""


def _at(moment: Any) -> str:
    """A stored moment without its fractions, in UTC."""
    return f"{str(moment)[:19]}Z" if moment else "an unknown moment"


def _needs_you(leg: Facts) -> bool:
    """Whether nothing more happens by itself to this leg."""
    return leg["state"] in _BY_PEOPLE or (leg["state"] in _BY_THE_HUB and leg.get("next_at") is None)


def _leg_command(case_id: Any, leg: Facts) -> str:
    return f"hub doubt show {case_id}/{leg['leg_no']}"


def _overdue(facts: Facts) -> Words:
    legs = facts["legs"]
    undo = facts["state"] == "cancelling"
    what = "undo asked for" if undo else "accepted"
    head = f"{facts['institution']}/{facts['settlement_no']}: {what} {_at(facts['since'])}, not at its end"
    command = f"hub case show {facts['case_id']}"
    if not legs:
        return Words(head, "no payer is asked for anything: the case was left lying; report it as a defect", command)
    parts = "; ".join(
        f"leg {leg['leg_no']} {leg['payer']} {_DOES[leg['state']]}"
        + (f" since {_at(leg['since'])}" if leg["since"] else "")
        for leg in legs
    )
    for leg in legs:
        if _needs_you(leg):
            return Words(
                f"{head}: {parts}", "needs you: nothing more happens by itself", _leg_command(facts["case_id"], leg)
            )
    due = min((leg["next_at"] for leg in legs if leg["next_at"]), default=None)
    next_step = f"the hub goes on by itself; next attempt {_at(due)}" if due else "the hub goes on by itself"
    return Words(f"{head}: {parts}", next_step, command)


def _leg(facts: Facts) -> Words:
    state = facts["state"]
    where = f"{facts['institution']}/{facts['settlement_no']} leg {facts['leg_no']}"
    summary = f"{where}: {facts['payer']} {_DOES[state]}, since {_at(facts['since'])}"
    command = _leg_command(facts["case_id"], facts)
    if _needs_you(facts):
        todo = _TODO.get(state, "needs you: ask the payer what stands in its books and enter its word")
        return Words(summary, todo, command)
    tried = max(facts["attempts"], facts["inquiries"], facts["undo_attempts"])
    return Words(summary, f"the hub goes on by itself ({tried} tries); next attempt {_at(facts['next_at'])}", command)


def _payer_down(facts: Facts) -> Words:
    said = f", last {facts['last_error']}" if facts.get("last_error") else ""
    summary = (
        f"{facts['payer']} does not answer since {_at(facts['since'])} "
        f"({facts['processes_open']} of {facts['processes']} processes{said})"
    )
    return Words(
        summary, "patients pay its part; it is probed and used again by itself", f"hub payer show {facts['payer']}"
    )


def _payer_stopped(facts: Facts) -> Words:
    code = "all" if facts["payer"] == "*" else facts["payer"]
    command = f"hub payer resume {code} --reason WHY --by YOU"
    who = "all payers are" if facts["payer"] == "*" else f"{facts['payer']} is"
    summary = f"{who} stopped by {facts['changed_by']} since {_at(facts['since'])}: {facts['reason']}"
    return Words(summary, "needs you: nothing is sent there until it is released", command)


def _dead_letters(facts: Facts) -> Words:
    return Words(
        f"{facts['count']} dead letters: {facts['cause']}, the oldest of {_at(facts['since'])}",
        "needs you: read what to do about each, then replay or discard them",
        f"hub dlq list --cause {facts['cause']}",
    )


def _outbox(facts: Facts) -> Words:
    queue = str(facts["queue"])
    payer = queue.removeprefix("payer.") if queue.startswith("payer.") else ""
    return Words(
        f"messages to {queue} wait since {_at(facts['since'])}; rows in the outbox: {facts['rows_at_least']}",
        "they leave by themselves when the broker and its consumers are back",
        f"hub payer show {payer}" if payer else "hub health",
    )


def _notice(facts: Facts) -> Words:
    about = f"{facts['institution']}" + (f"/{facts['visit_no']}" if facts["visit_no"] else "")
    why = f" ({facts['reason_code']})" if facts["reason_code"] else ""
    command = f"hub notice show {facts['notice']}"
    if facts["state"] == "waiting":
        summary = f"{facts['payer']} has not taken {facts['transaction']} of {about} since {_at(facts['since'])}{why}"
        return Words(summary, f"the hub goes on by itself ({facts['attempts']} tries)", command)
    said = "refused" if facts["state"] == "refused" else "could not be told of"
    return Words(
        f"{facts['payer']} {said} {facts['transaction']} of {about}{why}",
        "needs you: ask its people why, then have it said again or close it",
        command,
    )


def _staging_unreachable(facts: Facts) -> Words:
    return Words(
        f"the staging table of {facts['party']} cannot be used since {_at(facts['since'])}: {facts['error']}",
        "its rows and answers wait there and here, and go on by themselves; ask its people about their database",
        f"hub staging show {facts['party']}",
    )


def _staging_waiting(facts: Facts) -> Words:
    return Words(
        f"{facts['rows_at_least']} rows in the staging table of {facts['party']} wait since {_at(facts['since'])}",
        "they are taken by themselves; see that an engine runs and keeps up",
        f"hub staging show {facts['party']}",
    )


def _action(facts: Facts) -> Words:
    what = f"{facts['kind']} for {facts['about']}"
    return Words(
        f"action {facts['action']}, {what}, asked for by {facts['requested_by']}, waits since {_at(facts['since'])}",
        "needs a second person: approve or reject it",
        f"hub action show {facts['action']}",
    )


def _invariant(facts: Facts) -> Words:
    count = f"{facts['count']} rows" if facts["count"] < facts["count_max"] else f"{facts['count']} rows or more"
    return Words(
        f"{facts['code']} is broken ({count}): {facts['rule']}; first: {facts['first'][0]}",
        "needs you: this is a defect or a change made past the hub",
        f"hub verify --only {facts['code']}",
    )


def _unchecked(facts: Facts) -> Words:
    return Words(
        f"{facts['code']} could not be checked: {facts['error']}",
        "run it by hand with more time",
        f"hub verify --only {facts['code']} --timeout 600",
    )


def _late(facts: Facts) -> Words:
    return Words(
        f"the watch did not look from {_at(facts['since'])} to {_at(facts['until'])}",
        "what happened meanwhile is reported now; see that a relay runs",
        "hub health",
    )


def _undelivered(facts: Facts) -> Words:
    return Words(
        f"{facts['count']} alerts could not be delivered since {_at(facts['since'])}: {facts['last_error']}",
        "they are sent again by themselves; see that the receiver works",
        "hub incident test-webhook",
    )


def _whose_day(facts: Facts) -> str:
    return f"{facts['payer']}/{facts['scheme']} of {facts['day']}"


def _recon_difference(facts: Facts) -> Words:
    count = f"{facts['count']}" if facts["count"] < facts["count_max"] else f"{facts['count']} or more"
    what = ", ".join(f"{name} {number}" for name, number in sorted(facts["counts"].items()))
    return Words(
        f"{_whose_day(facts)} so far: {count} differences ({what}), in all {facts['off_by']}; "
        f"first: {facts['first'][0]}",
        "it is looked at again every hour; what is left tomorrow is a break with a proposal",
        f"hub case show {facts['case_id']}" if facts["case_id"] else f"hub recon report {facts['day']}",
    )


def _recon_late(facts: Facts) -> Words:
    tried = f"; fetching it ended with {facts['error']}" if facts["error"] else ""
    if not facts.get("asked", True):
        tried = "; it was not asked for it this time, since it was not heard about another day"
    again = "it is fetched again every hour" if facts["pulled"] else "needs you: ask its people for it"
    return Words(
        f"the statement of {_whose_day(facts)} was due {_at(facts['due'])} and has not come{tried}",
        again,
        f"hub recon statements --day {facts['day']}",
    )


def _recon_open(facts: Facts) -> Words:
    what = ", ".join(f"{name} {number}" for name, number in sorted(facts["classes"].items()))
    wait = how_many(facts["waiting"], "more waits for its", "more wait for their")
    waits = f", {wait} effect" if facts["waiting"] else ""
    return Words(
        f"{_whose_day(facts)}: {how_many(facts['open'], 'break is', 'breaks are')} open{waits} ({what})",
        "needs you: look at what is proposed, and have it done" if facts["open"] else "the hub goes on by itself",
        f"hub recon report {facts['day']}",
    )


def _recon_failed(facts: Facts) -> Words:
    return Words(
        f"the comparison of {_whose_day(facts)} failed: {facts['failure'] or 'its process ended'}",
        "it is made again every hour; report it as a defect if it fails again",
        f"hub recon report {facts['day']}",
    )


def _correction_left(facts: Facts) -> Words:
    return Words(
        f"{facts['settlement_no']} of {facts['institution']} was undone after a difference of it was posted: "
        f"{facts['amount']} stays on what {facts['payer']} owes",
        f"needs you: compare {facts['payer']}'s books of {facts['day']}; post what they differ by, or sign them off",
        f"hub ledger case {facts['case_id']}",
    )


_WORDS: dict[str, Callable[[Facts], Words]] = {
    "case.overdue": _overdue,
    "leg.in_doubt": _leg,
    "leg.held": _leg,
    "undo.held": _leg,
    "payer.down": _payer_down,
    "payer.stopped": _payer_stopped,
    "dead_letter.open": _dead_letters,
    "outbox.stuck": _outbox,
    "notice.late": _notice,
    "notice.refused": _notice,
    "staging.unreachable": _staging_unreachable,
    "staging.waiting": _staging_waiting,
    "action.waiting": _action,
    "recon.difference": _recon_difference,
    "recon.statement_late": _recon_late,
    "recon.breaks_open": _recon_open,
    "recon.run_failed": _recon_failed,
    "recon.correction_left": _correction_left,
    "invariant.broken": _invariant,
    "invariant.unchecked": _unchecked,
    "watch.late": _late,
    "alert.undelivered": _undelivered,
}
KINDS = tuple(_WORDS)


def words(kind: str, subject: str, facts: Facts) -> Words:
    """The incident in words; a kind or facts of another version of the hub are shown as they are."""
    try:
        return _WORDS[kind](facts)
    except (KeyError, TypeError, IndexError):
        return Words(f"{kind}: {subject}", "", "hub incident list")


def group_words(kind: str, count: int, by_payer: Mapping[str, int]) -> Words:
    """Many incidents of one kind in words."""
    spread = ", ".join(f"{payer} {of}" for payer, of in by_payer.items())
    return Words(
        f"{count} × {kind}" + (f" ({spread})" if spread else ""),
        "one cause may stand behind all of them: see the list, and hub payer list",
        f"hub incident list --kind {kind}",
    )
