"""Operators' things as JSON, the same for the command line and the gateway."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hub.people.dead_letters import LetterView
from hub.people.forecast import Forecast
from hub.people.letters import facts_of
from hub.people.masking import difference, masked, plain
from store.actions import Action
from store.dead_letters import LetterGroup, StoredLetter


def action_as_dict(action: Action) -> dict[str, Any]:
    """One action."""
    decided_at = action.decided_at and action.decided_at.isoformat()
    return {**asdict(action), "requested_at": action.requested_at.isoformat(), "decided_at": decided_at}


def listed_as_dict(letter: StoredLetter) -> dict[str, Any]:
    """One letter of a list without its body."""
    facts = facts_of(letter)
    return {
        "id": letter.id,
        "state": letter.state,
        "died_at": letter.died_at.isoformat(),
        "cause": letter.cause,
        "detail": letter.detail,
        "what": facts.what,
        "party": facts.party,
        "money": facts.money,
        "owner": letter.owner,
        "edited": letter.edited_body is not None,
        "source_queue": letter.source_queue,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "attempt": letter.attempt,
        "message_id": letter.message_id,
        "correlation_id": letter.correlation_id,
        "resolved_at": letter.resolved_at and letter.resolved_at.isoformat(),
        "resolved_by": letter.resolved_by,
        "resolution": letter.resolution,
        "replay_message_id": letter.replay_message_id,
    }


def group_as_dict(group: LetterGroup) -> dict[str, Any]:
    """One group."""
    return {
        "key": group.key,
        "letters": group.letters,
        "unowned": group.unowned,
        "oldest_at": group.oldest_at.isoformat(),
        "newest_at": group.newest_at.isoformat(),
        "example_id": group.example_id,
    }


def forecast_as_dict(told: Forecast) -> dict[str, Any]:
    """What a replay would do."""
    return {"id": told.letter_id, "effect": told.effect.value, "text": told.text.model_dump()}


def as_dict(view: LetterView, *, reveal: bool = False) -> dict[str, Any]:
    """One letter with everything; the body as text, with personal data only if `reveal`."""
    letter, found = view.letter, view.diagnosis
    edited = letter.edited_body
    return {
        **listed_as_dict(letter),
        "diagnosis": {
            "happened": found.happened.model_dump(),
            "why": found.why.model_dump(),
            "what_to_do": found.todo.model_dump(),
            "remedy": found.remedy.value,
            "replay_is_safe": view.safety.model_dump(),
        },
        "forecast": forecast_as_dict(view.forecast),
        "body": plain(letter.body) if reveal else masked(letter.body),
        "difference": None if edited is None else difference(letter.body, edited, hidden=not reveal),
        "case_id": view.case_id,
        "timeline": [event.as_dict() for event in view.timeline],
        "actions": [action_as_dict(one) for one in view.actions],
        "replay_of": view.replay_of or None,
        "replays": [one.id for one in view.replays],
    }
