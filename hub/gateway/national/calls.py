"""One national message on its way through the hub, and the services that handlers use: nothing else has effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from hub.books import RuleBooks
from hub.gateway.batched import BatchedCalls
from hub.gateway.courier import IN_TIME_S, Brought, Courier
from hub.ports import Clock
from hub.work import WorkUnits
from routing.rulebook import Institution
from schemas.errors import InvalidMessage, Unavailable, Violation
from schemas.national.fields import CHINA, Record
from schemas.national.transactions import Content
from schemas.transactions import Transaction
from store.database import database_is_away

T = TypeVar("T")
Calls = BatchedCalls[Callable[[], Any], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A message whose sender is proven and whose fields are read."""

    infno: str
    """Without a revision letter."""
    institution: Institution
    head: Record
    content: Content
    received_at: datetime
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`input` as it came."""

    @property
    def party(self) -> str:
        return self.institution.code

    @property
    def msgid(self) -> str:
        return str(self.head["msgid"])

    @property
    def sent_at(self) -> datetime:
        """The moment in the message's number: the same in every repeat."""
        return datetime.strptime(self.msgid[12:26], "%Y%m%d%H%M%S").replace(tzinfo=CHINA)

    @property
    def operator(self) -> str:
        return str(self.head["opter"])

    @property
    def insured_in(self) -> str:
        """The region of enrolment."""
        return str(self.head.get("insuplc_admdvs") or self.institution.region)

    @property
    def facts(self) -> Record:
        """The first node, which most messages have alone."""
        return dict(next(iter(self.content.values())))


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: nodes as `schemas.national.transactions` has them, and what the cashier should be told."""

    output: Content = field(default_factory=dict)
    warning: str = ""
    file: bytes | None = None
    """Of 9102: the file, which travels without an envelope."""


@dataclass(frozen=True, slots=True)
class Services:
    """The desk, by way of the courier, and reading."""

    courier: Courier
    calls: Calls
    work_units: WorkUnits
    books: RuleBooks
    clock: Clock
    person_secret: bytes = field(repr=False)
    sign_in_s: float

    async def bring(
        self,
        call: Call,
        transaction: Transaction,
        message: Mapping[str, Any],
        *,
        message_id: str = "",
        wait_s: float | None = None,
    ) -> Brought:
        """Bring a canonical message to the desk; a refusal is raised. The national message's own number is the id."""
        brought = await self.courier.bring(
            transaction, call.party, message_id or call.msgid, orjson.dumps(message), wait_s=wait_s
        )
        if brought.error is not None:
            raise brought.error
        return brought

    async def read(self, read: Callable[[Connection], T]) -> T:
        """What `read` finds; Unavailable when the database does not answer."""

        def run() -> T:
            with self.work_units.read() as connection:
                return read(connection)

        return await self.run(run)

    async def write(self, write: Callable[[Connection], T]) -> T:
        """Keep something of this channel's own, which no transaction depends on."""

        def run() -> T:
            with self.work_units.engine.begin() as connection:
                return write(connection)

        return await self.run(run)

    async def run(self, run: Callable[[], T]) -> T:
        """What `run` gives on a thread of its own; Unavailable when the database does not answer."""
        try:
            done: T = await self.calls(run, IN_TIME_S)
        except SQLAlchemyError as error:
            if database_is_away(error):
                raise Unavailable("the database is away") from error
            raise
        return done


def wrong(field_name: str, code: str, remedy: str) -> InvalidMessage:
    """The refusal of one field, by its national name."""
    return InvalidMessage("", Violation(field_name, code, remedy), code="national.fields")
