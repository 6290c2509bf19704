"""A payer in this process that wants to be told things outside settlements, with a script of what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from adapters.insurer.notice_codec import TOLD, decode_notice_answer, encode_notice
from schemas.errors import OutcomeUnknown
from schemas.payer import Capabilities, Decision, Notice, PreparedCall, RawAnswer
from tests.support.builders import StubPayer


@dataclass
class ToldPayer(StubPayer):
    """`notes` are the notices that it took, in their order; each word of `moods` is for one call: taken, refused, lost
    (it heard, and the answer did not come back), busy."""

    moods: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    numbers: int = 0
    drawn: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.capabilities = Capabilities(
            idempotent_submit=self.idempotent, inquiry=self.inquiry, reversal=True, notices=TOLD, numbers=self.numbers
        )

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        self.drawn[notice.request_id] = notice.numbers
        return PreparedCall(encode_notice(notice), "application/json", "/notices")

    def decode_notice(self, notice: Notice, answer: RawAnswer) -> Decision:
        return decode_notice_answer(notice, answer)

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        if call.path != "/notices":
            return super().send(call, timeout_s)
        told = json.loads(call.body)
        self.heard.append(told)
        mood = self.moods.pop(0) if self.moods else "taken"
        if mood == "busy":
            return RawAnswer(b"busy", 503, "text/plain")
        if mood != "refused" and all(told["request_id"] != one["request_id"] for one in self.notes):
            self.notes.append(told)
        if mood == "lost":
            raise OutcomeUnknown("no answer")
        answer = {
            "request_id": told["request_id"],
            "outcome": "refused" if mood == "refused" else "taken",
            "reference": f"N-{told['transaction']}",
        }
        return RawAnswer(json.dumps(answer).encode(), 200, "application/json")

    @property
    def told(self) -> list[str]:
        """The transactions of the notices that it took."""
        return [one["transaction"] for one in self.notes]
