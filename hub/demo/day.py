"""A day driven through the hub as hospitals do it: everything settled, some asked again, some cancelled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from sandbox.day import DayCase, HospitalDay
from sandbox.his import HospitalRequest, Result, cancel, settle
from schemas.money import fen_of

REPEATS_PERCENT = 2
CANCELS_PERCENT = 3
FINAL_WAIT_S_MAX = 60.0


class Hospitals(Protocol):
    """Whoever sends requests and yields results: over HTTP, over AMQP, or some of each."""

    def run_day(self, requests: Iterable[HospitalRequest]) -> Iterator[Result]: ...


@dataclass(slots=True)
class Tally:
    """What the hospitals heard; amounts in whole fen."""

    cases: int = 0
    total_fen: int = 0
    account_fen: int = 0
    hospital_fen: int = 0
    cash_fen: int = 0
    deferred_fen: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    payers: dict[str, Counter[str]] = field(default_factory=dict)
    """By payer: `asked`, `approved`, `fen`."""
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    """By kind of visit: `cases`, `total_fen`, `cash_fen`."""
    reasons: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """(payer, state, reason code, reason) of what was not approved."""
    latencies_s: list[float] = field(default_factory=list)
    repeats: int = 0
    cancels: int = 0
    troubles: list[str] = field(default_factory=list)
    """What went other than it should, one line each."""

    def take(self, kind: str, answer: dict[str, Any]) -> None:
        """Count one settled case."""
        self.cases += 1
        self.statuses[answer["status"]] += 1
        for name in ("total", "account", "cash", "deferred"):
            setattr(self, f"{name}_fen", getattr(self, f"{name}_fen") + fen_of(answer[name]))
        self.hospital_fen += fen_of(answer["hospital_borne"])
        by_kind = self.kinds.setdefault(kind, Counter())
        by_kind.update(cases=1, total_fen=fen_of(answer["total"]), cash_fen=fen_of(answer["cash"]))
        for share in answer["shares"]:
            self._share(share)

    def _share(self, share: dict[str, Any]) -> None:
        payer, state = share["payer"], share["state"]
        counted = self.payers.setdefault(payer, Counter())
        if state == "approved":
            counted.update(asked=1, approved=1, fen=fen_of(share["amount"]))
            return
        counted.update(asked=int(state != "not_needed"))
        reason = (share.get("reason") or {}).get("en", "")
        self.reasons[payer, state, share.get("reason_code", ""), reason] += 1


class DayRun:
    """One generated day, sent at `rate` a second (0: as fast as answers come). `advance` hears of every step."""

    def __init__(
        self, day: HospitalDay, hospitals: Hospitals, rate: float, advance: Callable[[str, int], None]
    ) -> None:
        self.day = day
        self.tally = Tally()
        self._hospitals = hospitals
        self._rate = rate
        self._advance = advance
        self._kinds: dict[str, str] = {}
        self._to_repeat: list[HospitalRequest] = []
        self._to_cancel: list[DayCase] = []
        self._first_answers: dict[str, dict[str, Any]] = {}

    def settle_all(self) -> float:
        """Settle every case; seconds from the first request to the last answer."""
        begun = time.monotonic()
        for result in self._hospitals.run_day(self._requests()):
            kind = self._kinds.pop(result.request.key)
            if result.answer is None:
                self._trouble("not settled", result)
            else:
                self.tally.take(kind, result.answer)
                self.tally.latencies_s.append(result.latency_s)
                if result.request.key in self._first_answers:
                    self._first_answers[result.request.key] = result.answer
            self._advance("settled", self.tally.cases)
        return time.monotonic() - begun

    def repeat_some(self) -> None:
        """Send some requests a second time: each must bring the same answer and nothing else."""
        for result in self._hospitals.run_day(self._to_repeat):
            self.tally.repeats += 1
            first = self._first_answers[result.request.key]
            if result.answer is None or not _same(first, result.answer):
                self._trouble("a repeat brought another answer", result)
            self._advance("repeated", self.tally.repeats)

    def cancel_some(self) -> None:
        """Cancel some settlements; each must end cancelled."""
        for result in self._hospitals.run_day([cancel(case) for case in self._to_cancel]):
            self.tally.cancels += 1
            if result.answer is None or result.answer["status"] not in ("cancelled", "cancelling"):
                self._trouble("not cancelled", result)
            self._advance("cancelled", self.tally.cancels)

    def _requests(self) -> Iterator[HospitalRequest]:
        random = Random(self.day.seed)
        due = time.monotonic()
        for case in self.day:
            request = settle(case)
            self._kinds[request.key] = case.visit_kind
            drawn = random.randrange(100)
            if drawn < CANCELS_PERCENT:
                self._to_cancel.append(case)
            elif drawn < CANCELS_PERCENT + REPEATS_PERCENT:
                self._to_repeat.append(request)
                self._first_answers[request.key] = {}
            if self._rate:
                time.sleep(max(0.0, due - time.monotonic()))
                due += 1 / self._rate
            yield request

    def _trouble(self, what: str, result: Result) -> None:
        told = result.error or {"status": (result.answer or {}).get("status")}
        code = told.get("code") or told.get("error") or told.get("status")
        self.tally.troubles.append(f"{what}: {result.request.key} ({code})")


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """The same words, or a later revision of them: a payer may have decided in between."""
    return first == second or second.get("revision", 0) > first.get("revision", 0)
