"""Who may speak for whom: an institution for itself, a basic system for the institutions of its region."""

from __future__ import annotations

from hub.books import ActiveBook
from routing.rulebook import Institution, Party
from schemas.errors import Forbidden


def check_sender(active: ActiveBook, party: str, institution_code: str) -> Institution:
    """The institution's profile; Forbidden when it is not registered or somebody else speaks for it."""
    institution = active.book.institution_by_code.get(institution_code)
    if party != institution_code:
        speaker = active.book.party_by_code.get(party)
        if speaker is None or institution is None or not speaks_for(speaker, institution):
            raise Forbidden("the message names another institution than its sender", party=party)
    if institution is None:
        raise Forbidden("this institution is not registered", code="party.unknown", party=party)
    return institution


def may_speak(active: ActiveBook, party: str, institution_code: str) -> bool:
    """Whether `check_sender` lets the party speak for the institution."""
    try:
        check_sender(active, party, institution_code)
    except Forbidden:
        return False
    return True


def speaks_for(speaker: Party, institution: Institution) -> bool:
    """A basic system sends for the institutions of its region; a city's code covers its districts, a province's all."""
    if speaker.kind != "basic" or speaker.region is None:
        return False
    digits = speaker.region.rstrip("0")
    digits += "0" * (len(digits) % 2)
    return institution.region.startswith(digits)
