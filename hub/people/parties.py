"""The parties' doors: their user on the broker and their HTTP token, given, renewed, taken away and given back.

What is wanted is committed first, with who asked for it and why, and then done on the broker. A command that the broker
stopped halfway is run again: each is harmless to repeat, and `differences` says what is not yet as wanted.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from hub.broker.admin import BrokerAdmin, BrokerUser, Rights
from hub.broker.topology import Topology, in_exchange, out_queue
from hub.people.actions import Actions
from hub.people.operators import check_operator, check_reason
from hub.ports import Clock
from hub.work import WorkUnits
from routing.rulebook import RuleBook
from schemas.errors import Conflict, InvalidMessage, Violation
from store import parties
from store.parties import Access

PASSWORD_BYTES = 24
PASSWORD_MIN = 16
GONE = "gone"
"""The kind of a party that was let in once and that the rule book in force does not know."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a party's user may have open at a time."""

    connections: int
    channels: int


@dataclass(frozen=True, slots=True)
class BrokerDesk:
    """Where a party speaks to the broker: the exchange it writes, what it may send there, the queue it reads."""

    exchange: str
    queue: str
    routing_keys: tuple[str, ...]

    @property
    def rights(self) -> Rights:
        """Exactly these two, by their whole names."""
        return Rights(write=f"^{re.escape(self.exchange)}$", read=f"^{re.escape(self.queue)}$")


@dataclass(frozen=True, slots=True)
class PartyView:
    """A party as it should be and as the broker has it. `desk` is None for who speaks HTTP only."""

    code: str
    kind: str
    desk: BrokerDesk | None
    access: Access | None
    user: BrokerUser | None
    differences: tuple[str, ...]
    asked: bool = True
    """Whether the broker was asked about the user."""

    @property
    def enabled(self) -> bool:
        return self.access is None or self.access.enabled

    @property
    def token_generation(self) -> int:
        return self.access.token_generation if self.access else 0


class Parties:
    """The doors of everybody in the rule book. Without `admin` there is no broker to change, only HTTP tokens."""

    def __init__(
        self,
        work_units: WorkUnits,
        clock: Clock,
        actions: Actions,
        book: RuleBook,
        layout: Topology,
        admin: BrokerAdmin | None,
        limits: Limits,
    ) -> None:
        self._work_units = work_units
        self._clock = clock
        self._actions = actions
        self._book = book
        self._layout = layout
        self._admin = admin
        self._limits = limits

    def listed(self) -> list[PartyView]:
        """Everybody in the rule book or once let in, by code. Unavailable: the broker cannot be asked."""
        with self._work_units.read() as connection:
            touched = {one.party for one in parties.everybody(connection)}
        return [
            self.show(one) for one in sorted({*self._book.party_by_code, *self._book.institution_by_code, *touched})
        ]

    def show(self, code: str) -> PartyView:
        """One party. InvalidMessage: the rule book does not know it, and it was never let in."""
        with self._work_units.read() as connection:
            access = next((one for one in parties.everybody(connection) if one.party == code), None)
        kind, desk = self._kind(code, access), self._desk(code)
        user = self._admin.read(code) if self._admin and (desk or access) else None
        found = PartyView(code, kind, desk, access, user, (), self._admin is not None)
        return replace(found, differences=tuple(self._differences(found)))

    def add(self, code: str, reason: str, by: str, password: str = "") -> tuple[PartyView, str]:
        """Open the party's door, with a user on the broker where it speaks to it; the password, "" for an old one.

        Again: rights and limits are set anew, and the password where one is given. Conflict: the party is disabled.
        """
        before = self._known(code)
        if not before.enabled:
            raise Conflict(f"{code} is disabled: hub party enable {code}", code="party.disabled")
        new = _checked(password) or ("" if before.user else secrets.token_urlsafe(PASSWORD_BYTES))
        self._record("party.add", code, reason, by, enabled=True)
        if before.desk is None or self._admin is None:
            self._close(before)
            return self.show(code), ""
        if new:
            self._admin.set_password(code, new)
        self._open(code, before.desk)
        return self.show(code), new

    def rotate(self, code: str, reason: str, by: str, password: str = "") -> tuple[PartyView, str]:
        """A new password and a new HTTP token; the old ones are void, and connections opened with them are closed.

        Conflict: there is nothing to renew on the broker yet.
        """
        before = self._known(code)
        if self._admin and before.desk and before.user is None:
            raise Conflict(f"{code} has no user on the broker yet: hub party add {code}", code="party.absent")
        new = _checked(password) or secrets.token_urlsafe(PASSWORD_BYTES)
        check_operator(by)
        with self._work_units.begin("party") as work:
            access = parties.renew(work.connection, code, by=by, now=self._clock.now())
            detail = {"token_generation": access.token_generation}
            self._actions.record(work, "party.rotate", _subject(code), detail, check_reason(reason), by)
        if before.user is None or before.desk is None or self._admin is None:
            return self.show(code), ""
        self._admin.set_password(code, new)
        self._admin.close_connections(code)
        return self.show(code), new

    def disable(self, code: str, reason: str, by: str) -> PartyView:
        """Shut the party's door: no right on the broker, no HTTP; what waits in its queue goes on waiting."""
        before = self.show(code)
        self._record("party.disable", code, reason, by, enabled=False)
        self._close(before)
        return self.show(code)

    def enable(self, code: str, reason: str, by: str) -> PartyView:
        """Give back what `disable` took; password and token are the ones from before."""
        before = self._known(code)
        self._record("party.enable", code, reason, by, enabled=True)
        if before.user is not None and before.desk is not None:
            self._open(code, before.desk)
        return self.show(code)

    def _record(self, kind: str, code: str, reason: str, by: str, *, enabled: bool) -> None:
        check_operator(by)
        with self._work_units.begin("party") as work:
            parties.turn(work.connection, code, enabled=enabled, by=by, now=self._clock.now())
            self._actions.record(work, kind, _subject(code), {}, check_reason(reason), by)

    def _open(self, code: str, desk: BrokerDesk) -> None:
        assert self._admin is not None
        self._admin.limit(code, self._limits.connections, self._limits.channels)
        self._admin.allow(code, desk.rights)

    def _close(self, view: PartyView) -> None:
        if view.user is not None and self._admin is not None:
            self._admin.shut_out(view.code)
            self._admin.close_connections(view.code)

    def _known(self, code: str) -> PartyView:
        """Who is in the rule book; InvalidMessage for who is not, or no more."""
        view = self.show(code)
        return view if view.kind != GONE else self._unknown(code)

    def _kind(self, code: str, access: Access | None) -> str:
        if code in self._book.institution_by_code:
            return "institution"
        if code in self._book.party_by_code:
            return self._book.party_by_code[code].kind
        return GONE if access is not None else self._unknown(code)

    @staticmethod
    def _unknown(code: str) -> NoReturn:
        remedy = "use a code of the rule book in force: hub party list"
        raise InvalidMessage(f"there is no party {code}: {remedy}", Violation("party", "party.unknown", remedy))

    def _desk(self, code: str) -> BrokerDesk | None:
        source, reads = in_exchange(code), out_queue(code)
        if not self._layout.links_of_queue(reads):
            return None
        keys = (one.routing_key for one in self._layout.bindings if one.exchange == source)
        return BrokerDesk(source, self._layout.on_broker(reads), tuple(sorted(keys)))

    def _differences(self, view: PartyView) -> Sequence[str]:
        """What is not yet as wanted on the broker, each with the command that mends it."""
        if view.kind == GONE and view.enabled:
            return [f"not in the rule book in force, and not disabled: hub party disable {view.code}"]
        if view.user is None:
            missing = view.asked and view.desk is not None and view.access is not None
            return [f"no user on the broker: hub party add {view.code}"] if missing else []
        found = []
        wanted = view.desk.rights if view.desk else None
        if view.enabled and view.user.rights != wanted:
            found.append(f"other rights on the broker than it should have: hub party add {view.code}")
        if not view.enabled and view.user.rights is not None:
            found.append(f"disabled, and the broker lets it in: hub party disable {view.code}")
        if view.user.tags or view.user.elsewhere:
            found.append("its user on the broker has tags, or may enter other vhosts: take them away there")
        return found


def _subject(code: str) -> str:
    return f"party/{code}"


def _checked(password: str) -> str:
    if password and (len(password) < PASSWORD_MIN or not password.isascii() or not password.isprintable()):
        remedy = f"{PASSWORD_MIN} printable ASCII characters or more"
        raise InvalidMessage(f"the password is too weak: {remedy}", Violation("password", "party.password", remedy))
    return password
