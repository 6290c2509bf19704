"""Fault scripts: how a party misbehaves, switchable while it runs, the same for the same seed.

Whether a request is hit depends on seed, fault, request id and how often that request came, so a repeat may fare
better than the first try and a run can be replayed whatever the order of arrival.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

from pydantic import Field, TypeAdapter

from schemas.base import Value
from schemas.payer import Operation

REMEMBERED_MAX = 200_000


class FaultKind(StrEnum):
    """What goes wrong, whatever is asked: settle, trial, cancel, reverse or inquire, unless it says so.

    Only slow, silent, http_500, refuse_connection, refuse_undo and delayed_effect come before the effect. On a queue
    there is no connection to spoil: slow is like late, http_500 like silent, and refuse_connection concerns the HTTP
    side alone.
    """

    SLOW = "slow"
    """Waits `seconds` before it works."""
    SILENT = "silent"
    """Does nothing and never answers; the connection is cut after `seconds`, 60 unless given."""
    HTTP_500 = "http_500"
    """Does nothing and answers 500."""
    REFUSE_CONNECTION = "refuse_connection"
    """Stops listening for `seconds` from the moment the script is set, then listens again."""
    GARBAGE = "garbage"
    """Works, then answers bytes that are no answer."""
    DUPLICATE_ANSWER = "duplicate_answer"
    """Works, then answers twice; over HTTP the work itself is done twice."""
    LOST_ANSWER = "lost_answer"
    """Works, then cuts the connection without an answer."""
    WRONG_TOTAL = "wrong_total"
    """Works, then answers amounts that do not add up."""
    LATE = "late"
    """Works at once, answers after `seconds`."""
    DELAYED_EFFECT = "delayed_effect"
    """Of a settle: cuts the connection at once and works `seconds` later, as if the request had lain somewhere inside.

    Until then the party knows nothing of it; a reversal that comes meanwhile bars it. Ending the party forgets it.
    """
    NOT_FOUND_FIRST = "not_found_first"
    """Of an inquiry: answers that there is no such request, whatever stands; give a `count`, or it lies for ever."""
    REFUSE_UNDO = "refuse_undo"
    """Of a cancel or a reversal: does nothing and refuses it with a reason; the next try is judged anew."""
    WRONG_SIGNATURE = "wrong_signature"
    """Works, then signs its answer wrongly; a party that signs nothing answers as always."""
    TOKEN_EXPIRED = "token_expired"
    """Does nothing and says that the caller's token has expired; a party without tokens works as always."""
    SIGN_IN_LOST = "sign_in_lost"
    """Forgets who has signed in, does nothing and says so; a party without sign-ins works as always."""
    OTHER_WRAPPER = "other_wrapper"
    """Works, then answers in the wrapper of its gateway; a party with one form of answer works as always."""
    OTHER_SHAPE = "other_shape"
    """Works, then answers with arrays where objects belong and objects where arrays do, under other names."""


_STRIKES_ONLY: dict[FaultKind, frozenset[str]] = {
    FaultKind.DELAYED_EFFECT: frozenset({Operation.SETTLE}),
    FaultKind.NOT_FOUND_FIRST: frozenset({Operation.INQUIRE}),
    FaultKind.REFUSE_UNDO: frozenset({Operation.CANCEL, Operation.REVERSE}),
}


class Fault(Value):
    """One line of a fault script; `count` limits how often it strikes, `operation` what it strikes."""

    kind: FaultKind
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    operation: Operation | None = None


SCRIPT = TypeAdapter(tuple[Fault, ...])


class Faults:
    """The fault script of one party. Thread-safe."""

    def __init__(self, party: str, seed: int = 0) -> None:
        self.party = party
        self.seed = seed
        self._lock = threading.Lock()
        self._script: tuple[Fault, ...] = ()
        self._left: list[int | None] = []
        self._seen: Counter[str] = Counter()
        self._struck: Counter[str] = Counter()

    def set(self, script: Sequence[Fault], seed: int | None = None) -> None:
        """Replace the script; an empty one ends all faults. Counts start anew."""
        with self._lock:
            self.seed = self.seed if seed is None else seed
            self._script = tuple(script)
            self._left = [fault.count for fault in script]
            self._seen.clear()

    def draw(self, request_id: str, operation: str) -> Fault | None:
        """The fault that strikes this request now, if any: the first of the script that does."""
        if not self._script:
            return None
        with self._lock:
            if len(self._seen) >= REMEMBERED_MAX:
                self._seen.clear()
            self._seen[request_id] += 1
            for index, fault in enumerate(self._script):
                if self._strikes(index, fault, request_id, operation):
                    self._struck[fault.kind.value] += 1
                    return fault
        return None

    def report(self) -> dict[str, object]:
        """The script, the seed and how often each kind has struck."""
        with self._lock:
            return {
                "party": self.party,
                "seed": self.seed,
                "faults": [fault.model_dump(mode="json") for fault in self._script],
                "struck": dict(self._struck),
            }

    def _strikes(self, index: int, fault: Fault, request_id: str, operation: str) -> bool:
        left = self._left[index]
        if fault.kind is FaultKind.REFUSE_CONNECTION or left == 0 or fault.operation not in (None, operation):
            return False
        if fault.kind in _STRIKES_ONLY and operation not in _STRIKES_ONLY[fault.kind]:
            return False
        if _chance(f"{self.seed}/{index}/{fault.kind}/{request_id}/{self._seen[request_id]}") >= fault.rate:
            return False
        if left is not None:
            self._left[index] = left - 1
        return True


def _chance(key: str) -> float:
    return int.from_bytes(blake2b(key.encode(), digest_size=7).digest(), "big") / 2.0**56
