"""The transaction `statement.upload`: a party's own books of a day, or an institution's by its basic system."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import ValidationError

from hub.books import ActiveBook, RuleBooks
from hub.inbound import Inbound, Taken
from hub.intake import content_hash
from hub.ports import Clock
from hub.recon.forms.json_form import as_a_file
from hub.recon.statements import StatementRefused, remember_refusal, take_statement
from hub.senders import check_sender
from hub.work import WorkUnits
from routing.rulebook import RuleBook
from schemas.base import violations_of
from schemas.errors import Forbidden, HubError
from schemas.statement import Statement
from schemas.strict_json import check_text
from store.statements import Came, Key

FORM = "message"


class Statements:
    """Takes statements by message. One that is sent again is answered again; see `hub.recon.statements`."""

    def __init__(self, work_units: WorkUnits, books: RuleBooks, clock: Clock) -> None:
        self._work_units = work_units
        self._books = books
        self._clock = clock

    def take(self, inbound: Inbound) -> Taken:
        """The answer as bytes. Errors come back, not out, except a missing database."""
        try:
            return self._take(inbound)
        except HubError as error:
            return Taken(error=error)

    def _take(self, inbound: Inbound) -> Taken:
        book = self._books.active().book
        content = check_text(inbound.body)
        digest = content_hash(content)
        statement = self._read(inbound, content, digest)
        check_speaker(self._books.active(), inbound.party, statement.party)
        now = self._clock.now()
        answer = take_statement(
            self._work_units,
            book,
            statement,
            sha256=digest,
            form=FORM,
            source=inbound.message_id,
            by=inbound.party,
            now=now,
        )
        written = answer.model_dump_json(exclude_none=True).encode()
        return Taken(answer=written, repeated=answer.received_at != now)

    def _read(self, inbound: Inbound, content: dict[str, Any], digest: str) -> Statement:
        """The message; StatementRefused names every field that is wrong."""
        try:
            return Statement.model_validate_json(inbound.body)
        except ValidationError as error:
            refusal = StatementRefused("the message breaks its schema", *as_a_file(violations_of(error)))
        key = _key_of(self._books.active().book, inbound.party, content)
        if key is not None:
            came = Came(FORM, inbound.message_id, digest, inbound.party, self._clock.now())
            remember_refusal(self._work_units, self._books.active().book, key, came, refusal)
        raise refusal


def check_speaker(active: ActiveBook, speaker: str, party: str) -> None:
    """Forbidden unless the statement is the speaker's own or that of an institution which it speaks for."""
    if party in active.book.institution_by_code:
        check_sender(active, speaker, party)
    elif speaker != party:
        raise Forbidden("the statement is another party's than its sender's", party=speaker)


def _key_of(book: RuleBook, speaker: str, content: dict[str, Any]) -> Key | None:
    """What a message that breaks its schema is about; None when it does not say so, or not about its sender."""
    party, scheme, day = content.get("party"), content.get("scheme", "daily"), content.get("day")
    if party != speaker or scheme not in {one.code for one in book.schemes_of(speaker)} or not isinstance(day, str):
        return None
    try:
        return Key(speaker, scheme, date.fromisoformat(day))
    except ValueError:
        return None
