"""What happened to a case, in order, without anybody's data: a pure function over what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from schemas.base import Bilingual
from store.answers import StoredAnswer
from store.doubts import PEOPLE
from store.exchanges import HOSPITAL_LEG, Exchange
from store.records import CaseRecord


class Happening(StrEnum):
    """Kinds of events, in the order in which they stand when they share a moment."""

    RECEIVED = "received"
    ASKED = "asked"
    PAYER_ANSWERED = "payer_answered"
    NO_ANSWER = "no_answer"
    ENDED = "ended"
    ANSWER_GIVEN = "answer_given"


_ORDER = {kind: rank for rank, kind in enumerate(Happening)}
_OPERATIONS = {
    "settle": Bilingual(zh="结算", en="settlement"),
    "trial": Bilingual(zh="试算", en="trial"),
    "cancel": Bilingual(zh="撤销", en="cancellation"),
    "reverse": Bilingual(zh="冲正", en="reversal"),
    "inquire": Bilingual(zh="查询结果", en="inquiry"),
}
_OUTCOMES = {
    "approved": Bilingual(zh="同意", en="approved"),
    "declined": Bilingual(zh="拒绝", en="declined"),
    "deferred": Bilingual(zh="转非即时", en="deferred"),
    "cancelled": Bilingual(zh="已撤销", en="cancelled"),
    "not_found": Bilingual(zh="未查到该请求", en="it does not know the request"),
    "unknown": Bilingual(zh="结果不明", en="no clear word"),
    "not_sent": Bilingual(zh="未能发出", en="nothing could be sent"),
    "answer_lost": Bilingual(zh="答复丢失", en="the answer was lost"),
    "answer_broken": Bilingual(zh="答复自相矛盾", en="the answer contradicts itself"),
}
_STATES = {
    "settled": Bilingual(zh="已结算", en="settled"),
    "declined": Bilingual(zh="未能结算", en="not settled"),
    "cancelled": Bilingual(zh="已撤销", en="cancelled"),
}
_DECISIONS = {
    "ask": Bilingual(zh="再次询问", en="ask again"),
    "approve": Bilingual(zh="登记支付方已赔付", en="the payer has settled"),
    "decline": Bilingual(zh="登记支付方未赔付", en="the payer has settled nothing"),
    "reverse": Bilingual(zh="要求冲正", en="have it undone"),
    "undone": Bilingual(zh="登记支付方已撤回", en="the payer has taken it back"),
}
_NO_WORD = frozenset({"unknown", "not_sent", "answer_lost"})


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened. `leg_no` is 0 for the case as a whole; `took_ms` since the payer was asked, or since the
    request came in when an answer was given."""

    at: datetime
    kind: Happening
    party: str
    text: Bilingual
    leg_no: int = HOSPITAL_LEG
    operation: str = ""
    attempt: int = 0
    outcome: str = ""
    http_status: int = 0
    revision: int = 0
    took_ms: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: empty facts left out, moments with microseconds."""
        facts = {
            "leg_no": self.leg_no,
            "operation": self.operation,
            "attempt": self.attempt,
            "outcome": self.outcome,
            "http_status": self.http_status,
            "revision": self.revision,
        }
        event: dict[str, Any] = {
            "at": self.at.isoformat(timespec="microseconds"),
            "kind": self.kind.value,
            "party": self.party,
            **{name: value for name, value in facts.items() if value},
        }
        if self.took_ms is not None:
            event["took_ms"] = self.took_ms
        return {**event, "text": self.text.model_dump()}


def timeline(
    case: CaseRecord, exchanges: Iterable[Exchange], answers: Iterable[StoredAnswer]
) -> tuple[TimelineEvent, ...]:
    """The events of a case from its messages and the answers that were given."""
    said = list(exchanges)
    asked_at = {(one.request_id, one.attempt): one.at for one in said if one.direction == "out"}
    events = [_of_exchange(one, asked_at) for one in said]
    events += _of_answers(case, said, answers)
    if case.ended_at is not None and case.state.value in _STATES:
        text = _join("案件", "the case is ", _STATES[case.state.value])
        events.append(TimelineEvent(case.ended_at, Happening.ENDED, case.institution, text, outcome=case.state.value))
    return tuple(sorted(events, key=lambda event: (event.at, _ORDER[event.kind])))


def _of_exchange(one: Exchange, asked_at: dict[tuple[str, int], datetime]) -> TimelineEvent:
    operation = _OPERATIONS.get(one.operation) or Bilingual(zh=one.operation, en=one.operation)
    took_ms = None
    if one.leg_no == HOSPITAL_LEG:
        kind, text = Happening.RECEIVED, _join("收到请求：", "received: ", operation)
    elif one.direction == "out":
        kind, text = Happening.ASKED, _join("请求支付方：", "payer asked: ", operation)
    else:
        kind = Happening.NO_ANSWER if one.outcome in _NO_WORD else Happening.PAYER_ANSWERED
        outcome = _OUTCOMES.get(one.outcome) or Bilingual(zh=one.outcome, en=one.outcome)
        text = _join("支付方答复：", "payer: ", outcome)
        if one.operation == PEOPLE:
            text = _join("人工处理：", f"our people, {one.request_id}: ", _DECISIONS.get(one.outcome) or outcome)
        asked = asked_at.get((one.request_id, one.attempt))
        took_ms = None if asked is None else _milliseconds(asked, one.at)
    return TimelineEvent(
        at=one.at,
        kind=kind,
        party=one.party,
        text=text,
        leg_no=one.leg_no,
        operation=one.operation,
        attempt=one.attempt if one.leg_no else 0,
        outcome=one.outcome,
        http_status=one.status,
        took_ms=took_ms,
    )


def _of_answers(case: CaseRecord, said: Sequence[Exchange], answers: Iterable[StoredAnswer]) -> list[TimelineEvent]:
    requests = [one.at for one in said if one.leg_no == HOSPITAL_LEG] or [case.received_at]
    events = []
    for answer in answers:
        asked = max((at for at in requests if at <= answer.answered_at), default=case.received_at)
        status = str(orjson.loads(answer.body)["status"])
        ending = Bilingual(zh="，最终", en=", final") if answer.final else Bilingual(zh="", en="")
        text = Bilingual(
            zh=f"答复医院：{status}（第 {answer.revision} 版{ending.zh}）",
            en=f"hospital answered: {status} (revision {answer.revision}{ending.en})",
        )
        events.append(
            TimelineEvent(
                at=answer.answered_at,
                kind=Happening.ANSWER_GIVEN,
                party=case.institution,
                text=text,
                outcome=status,
                revision=answer.revision,
                took_ms=_milliseconds(asked, answer.answered_at),
            )
        )
    return events


def _milliseconds(since: datetime, until: datetime) -> int:
    return round((until - since).total_seconds() * 1000)


def _join(zh: str, en: str, what: Bilingual) -> Bilingual:
    return Bilingual(zh=zh + what.zh, en=en + what.en)
