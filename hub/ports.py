"""What the hub needs from outside, as protocols: adapters satisfy them by shape and need not import this module."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from schemas.payer import Capabilities, Decision, Notice, PayerTask, PreparedCall, RawAnswer
from schemas.statement_pages import StatementPage, StatementQuestion


class Clock(Protocol):
    """The moment, with zone; a fake in tests and in the simulator."""

    def now(self) -> datetime: ...


class PayerAdapter(Protocol):
    """One payer as the engine sees it: a pure codec (`prepare`, `decode`) and a thin client (`send`).

    `prepare` and `decode` touch no network, clock or database. `decode` returns Outcome.UNKNOWN for whatever is not an
    explicit yes or no and raises InvalidMessage for bytes that are no answer at all (the engine then keeps the leg in
    doubt with the bytes as evidence).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def prepare(self, task: PayerTask) -> PreparedCall: ...

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        """Unavailable when provably nothing was sent, OutcomeUnknown when the payer may have been heard."""
        ...

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision: ...

    def close(self) -> None: ...


class NoticeAdapter(PayerAdapter, Protocol):
    """A payer that can be told things outside a settlement (`Capabilities.notices`); as pure as `prepare`, `decode`."""

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """InvalidMessage when the dialect cannot express it."""
        ...

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        """APPROVED when it was taken, DECLINED when it was refused, UNKNOWN for whatever is neither."""
        ...


class StatementAdapter(PayerAdapter, Protocol):
    """A payer that can be asked for its books of a day (`Capabilities.statements`); as pure as `prepare`, `decode`."""

    def prepare_statement(self, question: StatementQuestion) -> PreparedCall: ...

    def decode_statement(self, question: StatementQuestion, answer: RawAnswer) -> StatementPage:
        """Unavailable when it asks to be asked again, InvalidMessage when it refuses or breaks its own form."""
        ...
