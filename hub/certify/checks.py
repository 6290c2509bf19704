"""What a check is, the register of all checks, and what came of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from schemas.base import Bilingual

if TYPE_CHECKING:
    from hub.certify.evidence import Evidence
    from hub.certify.stage import Stage

Words = tuple[str, str]
"""The same sentence in Chinese and in English."""


class Verdict(StrEnum):
    """How a check ended. Not applicable: the party does not promise what the check is about."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


class Group(StrEnum):
    """The parts of a report, in its order."""

    GOLDEN = "golden path"
    REFUSALS = "refusals"
    REPEATS = "repeats"
    UNDOING = "undoing"
    INQUIRIES = "inquiries"
    TROUBLE = "trouble"
    NOTICES = "notices"
    BOOKS = "books"
    SAMPLES = "samples"


class CheckFailed(Exception):
    """What the party did is not what the contract says; `words` tell people."""

    def __init__(self, words: Bilingual) -> None:
        super().__init__(words.en)
        self.words = words


class NotApplicable(Exception):
    """The check turned out to be about something that this party's messages cannot say."""

    def __init__(self, words: Bilingual) -> None:
        super().__init__(words.en)
        self.words = words


@dataclass(frozen=True, slots=True)
class Check:
    """One case. `run` speaks to the party and raises CheckFailed or NotApplicable; `needs` are capabilities."""

    id: str
    group: Group
    proves: Bilingual
    expected: Bilingual
    run: Callable[[Stage], None]
    needs: tuple[str, ...] = ()
    by_call: bool = False
    """Only for parties that are called: nobody is told by a queue what became of a message that is no task."""
    with_control: bool = False
    """Only for sandbox parties, which can be made to misbehave and show their books."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check. `got` is a line for each thing that was said; `why` is empty for one that passed."""

    id: str
    group: Group
    proves: Bilingual
    expected: Bilingual
    verdict: Verdict
    got: tuple[str, ...] = ()
    why: Bilingual | None = None
    took_ms: float = 0.0
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)


CHECKS: list[Check] = []
"""All checks on a party that is there, in the order in which they are run."""


def check(
    id: str,
    group: Group,
    proves: Words,
    expected: Words,
    *,
    needs: tuple[str, ...] = (),
    by_call: bool = False,
    with_control: bool = False,
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a function as a check."""

    def registered(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
        CHECKS.append(Check(id, group, both(proves), both(expected), run, needs, by_call, with_control))
        return run

    return registered


def both(words: Words) -> Bilingual:
    """A pair of sentences as one value."""
    return Bilingual(zh=words[0], en=words[1])


def must(holds: bool, zh: str, en: str) -> None:
    """CheckFailed with these words unless it holds."""
    if not holds:
        raise CheckFailed(Bilingual(zh=zh, en=en))
