"""An insurer that consumes its own queue: a task goes out as a message, the answer comes back as one."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from adapters.insurer.canonical_codec import CONTENT_TYPE, NEEDS, decode_decision, encode_task
from adapters.insurer.notice_codec import TOLD, encode_notice
from schemas.errors import IllegalTransition
from schemas.payer import Capabilities, Decision, Notice, PartySettings, PayerTask, PreparedCall, RawAnswer


class InsurerQueue:
    """A queue insurer; it holds no connection: the outbox carries what `prepare` makes."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotent_submit=True, reversal=True, by_queue=True, needs=NEEDS, notices=TOLD
    )

    def __init__(self, settings: PartySettings) -> None:
        self._party = settings.code

    def prepare(self, task: PayerTask) -> PreparedCall:
        """The message's body; `path` is its type: claim.settle, claim.trial, claim.cancel or claim.reverse."""
        return PreparedCall(encode_task(task), CONTENT_TYPE, f"claim.{task.operation}")

    def send(self, call: PreparedCall, timeout_s: float) -> NoReturn:
        """Nobody calls a party that consumes: who does has not asked `capabilities.by_queue`."""
        raise IllegalTransition("a queue insurer is not called", party=self._party)

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        """The body of a message that came back; see `decode_decision`."""
        return decode_decision(task, answer.body)

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        """A ClaimNotice as the body of a message; nothing comes back."""
        return PreparedCall(encode_notice(notice), CONTENT_TYPE, f"notice.{notice.transaction}")

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> NoReturn:
        """No answer is expected: what lies in the party's queue is told."""
        raise IllegalTransition("a queue insurer answers no notice", party=self._party)

    def close(self) -> None:
        """Nothing is open."""
