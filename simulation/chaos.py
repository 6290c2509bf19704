"""Every decision of a run, drawn from its seed and from the name of what is decided.

A decision depends on its own name and on how often that name came up, not on the decisions before it: dropping one
fault leaves the others where they were, as long as what happens stays alike. That is what makes shrinking work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")

_SCALE = 1 << 48
_MASK = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15
ENABLED_SHARE = 0.55
"""Of the kinds of fault, how many a seed uses: with all at once the rare combinations drown in the common ones."""


class Fault(StrEnum):
    """What can go wrong by the world's doing."""

    CRASH = "process.crash"
    CRASH_IDLE = "process.crash_idle"
    FREEZE = "process.freeze"
    PREEMPT = "process.preempted"
    STORE_AWAY = "store.away"
    CLOCK_JUMP = "store.clock_jump"
    """The one clock that all processes go by; each follows when it looks next. A machine's own clock counts nowhere."""
    COMMIT_FAILS = "store.commit_fails"
    COMMIT_ACK_LOST = "store.commit_ack_lost"
    STATEMENT_FAILS = "store.statement_fails"
    PUBLISH_LOST = "broker.publish_lost"
    CONFIRM_LOST = "broker.confirm_lost"
    DUPLICATE = "broker.duplicate"
    REORDER = "broker.reorder"
    SESSION_LOST = "broker.session_lost"
    NOT_REACHED = "payer.not_reached"
    REQUEST_LOST = "payer.request_lost"
    ANSWER_LOST = "payer.answer_lost"
    ANSWER_LATE = "payer.answer_late"
    REQUEST_LATE = "payer.request_late"
    REQUEST_TWICE = "payer.request_twice"
    ANSWER_TWICE = "payer.answer_twice"
    GARBAGE = "payer.garbage"
    UNKNOWN_WORD = "payer.unknown_word"
    WRONG_SUM = "payer.wrong_sum"
    DEFERS = "payer.defers"
    DECIDES_LATER = "payer.decides_later"
    DECLINES = "payer.declines"
    REFUSES_UNDO = "payer.refuses_undo"
    INQUIRY_LIES = "payer.inquiry_lies"
    DOWN = "payer.down"
    CALLER_GONE = "hospital.caller_gone"
    REPEATED = "hospital.repeated"
    OTHER_CONTENT = "hospital.other_content"
    ID_REUSED = "hospital.id_reused"


RATES: dict[Fault, tuple[float, float]] = {
    Fault.CRASH: (0.01, 0.08),
    Fault.CRASH_IDLE: (0.2, 0.8),
    Fault.FREEZE: (0.2, 0.8),
    Fault.CLOCK_JUMP: (0.2, 0.8),
    Fault.PREEMPT: (0.02, 0.2),
    Fault.STORE_AWAY: (0.2, 0.6),
    Fault.COMMIT_FAILS: (0.01, 0.06),
    Fault.COMMIT_ACK_LOST: (0.01, 0.08),
    Fault.STATEMENT_FAILS: (0.002, 0.02),
    Fault.PUBLISH_LOST: (0.02, 0.15),
    Fault.CONFIRM_LOST: (0.02, 0.2),
    Fault.DUPLICATE: (0.02, 0.2),
    Fault.REORDER: (0.05, 0.3),
    Fault.SESSION_LOST: (0.01, 0.06),
    Fault.NOT_REACHED: (0.05, 0.3),
    Fault.REQUEST_LOST: (0.05, 0.25),
    Fault.ANSWER_LOST: (0.05, 0.3),
    Fault.ANSWER_LATE: (0.05, 0.3),
    Fault.REQUEST_LATE: (0.1, 0.45),
    Fault.REQUEST_TWICE: (0.05, 0.3),
    Fault.ANSWER_TWICE: (0.05, 0.3),
    Fault.GARBAGE: (0.02, 0.2),
    Fault.UNKNOWN_WORD: (0.02, 0.15),
    Fault.WRONG_SUM: (0.02, 0.1),
    Fault.DEFERS: (0.1, 0.5),
    Fault.DECIDES_LATER: (0.3, 0.9),
    Fault.DECLINES: (0.05, 0.2),
    Fault.REFUSES_UNDO: (0.05, 0.2),
    Fault.INQUIRY_LIES: (0.1, 0.6),
    Fault.DOWN: (0.2, 0.6),
    Fault.CALLER_GONE: (0.1, 0.4),
    Fault.REPEATED: (0.2, 0.6),
    Fault.OTHER_CONTENT: (0.1, 0.3),
    Fault.ID_REUSED: (0.05, 0.2),
}
"""The least and the greatest probability of each kind, where a seed uses it at all."""


ALWAYS = frozenset({Fault.DECIDES_LATER})
"""Kinds that come up only after another one."""


KNOWN_GAPS: dict[Fault, frozenset[Fault]] = {
    Fault.CLOCK_JUMP: frozenset({Fault.REQUEST_LATE, Fault.INQUIRY_LIES}),
}
"""What the hub does not survive together; a seed with the first of these goes without the others.

The settle window is measured by the database's clock. When that jumps by more than the window while a request is under
way inside a payer, its first "not found" counts at once. The jump raises an alarm (`clock_jumped`); NTP must slew.
"""


class Chaos:
    """The decisions of one run. `suppressed` names faults that must not happen, as `Chaos.injected` named them."""

    def __init__(
        self, seed: int, suppressed: frozenset[str] = frozenset(), excluded: frozenset[Fault] = frozenset()
    ) -> None:
        self.seed = seed
        self.suppressed = suppressed
        self.injected: dict[str, Fault] = {}
        self.counts: Counter[Fault] = Counter()
        self.healed = False
        self._salt = crc32(str(seed).encode()) * 2_654_435_761 & 0xFFFFFFFF
        self._asked: dict[str, int] = {}
        self._below = {fault: rate * _SCALE for fault, rate in self._drawn_rates(excluded).items()}
        """A fault that is drawn a number below this strikes; one that is not here never does."""

    def _drawn_rates(self, excluded: frozenset[Fault]) -> dict[Fault, float]:
        rates = {}
        for fault, (low, high) in RATES.items():
            share = 1.0 if fault in ALWAYS else ENABLED_SHARE
            if fault not in excluded and self.number("enabled", fault) < share:
                rates[fault] = low + (high - low) * self.number("rate", fault)
        for fault, others in KNOWN_GAPS.items():
            if fault in rates:
                for other in others:
                    rates.pop(other, None)
        return rates

    def number(self, *name: object) -> float:
        """Evenly drawn from [0, 1); the next one each time the name comes up."""
        return self._drawn(_joined(name))[0] / _SCALE

    def _drawn(self, text: str) -> tuple[int, int]:
        """A number below _SCALE for this name and how often it came up, and that count."""
        asked = self._asked
        asked[text] = count = asked.get(text, 0) + 1
        # Multiplying spreads the checksum's bits, which are linear in those of the text.
        mixed = (crc32(f"{count}|{text}".encode(), self._salt) * _SPREAD) & _MASK
        mixed = ((mixed ^ (mixed >> 29) ^ self._salt) * _SPREAD) & _MASK
        return mixed >> 16, count

    def between(self, low: float, high: float, *name: object) -> float:
        """Evenly drawn from [low, high)."""
        return low + (high - low) * self.number(*name)

    def choose(self, among: Sequence[T], *name: object) -> T:
        """One of these."""
        return among[int(self.number(*name) * len(among))]

    def happens(self, fault: Fault, *name: object) -> bool:
        """Whether this fault strikes here and now; never once the world is healed."""
        below = self._below.get(fault)
        if below is None or self.healed:
            return False
        key = _joined((fault, *name))
        drawn, count = self._drawn(key)
        if drawn >= below:
            return False
        identity = f"{key}#{count}"
        if identity in self.suppressed:
            return False
        self.injected[identity] = fault
        self.counts[fault] += 1
        return True


def _joined(name: tuple[object, ...]) -> str:
    try:
        return "|".join(name)  # type: ignore[arg-type]  # nearly all names are words
    except TypeError:
        return "|".join(map(str, name))
