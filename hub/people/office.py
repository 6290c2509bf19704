"""The operators' office: everything that people can do, put together for the command line and the gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hub.broker.topology import Topology
from hub.broker.transport import OutboundMessage, Subscription
from hub.funds.kinds import fund_kinds
from hub.people.actions import Actions
from hub.people.dead_letters import DeadLetters
from hub.people.doubts import doubt_kinds
from hub.people.notices import notice_kinds
from hub.people.payers import payer_kinds
from hub.people.recon import recon_kinds
from hub.ports import Clock
from hub.work import WorkUnits


@dataclass(frozen=True, slots=True)
class Office:
    """What operators work with. Each part registers its kinds of action."""

    actions: Actions
    dead_letters: DeadLetters


def open_office(
    work_units: WorkUnits, clock: Clock, layout: Callable[[], Topology], payers: Callable[[], Collection[str]]
) -> Office:
    """The office of one process; `layout` and `payers` are those of the rule book in force."""
    actions = Actions(work_units, clock)
    actions.register(*doubt_kinds(clock), *payer_kinds(clock, payers), *notice_kinds(clock), *recon_kinds(clock))
    actions.register(*fund_kinds(work_units, clock))
    return Office(actions, DeadLetters(work_units, clock, layout, actions))


class NoTransport:
    """For a process that only writes outbox rows: the hub's own processes carry them, the relay with RabbitMQ."""

    def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """The rows are committed; whoever runs finds them."""

    def take_confirmed(self) -> list[int]:
        return []

    def subscribe(self, subscription: Subscription) -> None:
        """Nothing is consumed here."""

    def hint(self, channel: str, payload: str) -> None: ...

    def on_hint(self, channel: str, listener: Callable[[str], None]) -> None: ...

    def healthy(self) -> bool:
        return True

    def stop_consuming(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None: ...
