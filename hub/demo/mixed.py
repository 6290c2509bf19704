"""One mixed day: every region, dialect and way in at once, with parties that misbehave, and whether all books agree."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import urllib3
import yaml
from sqlalchemy import Engine, text

from hub.cli.coverage_file import read_coverage
from hub.demo import ledger
from hub.demo.day import FINAL_WAIT_S_MAX, Tally
from hub.demo.mixed_day import MixedCase, MixedDay, recorded_shares
from hub.demo.mixed_ways import Senders
from hub.demo.report import Proof
from hub.demo.samples import write_coverage
from hub.demo.stage import PARTY_SECRETS, Stage
from routing.rulebook_file import read_rule_book
from sandbox import parties
from sandbox.cast_dialects import SECRETS
from sandbox.faults import Fault, FaultKind
from sandbox.his import HospitalRequest, Result
from sandbox.his_book import HospitalBook
from sandbox.parties_dialects import GUANGXI_BASIC, NATIONAL_BASIC, RECORDED_BASIC, YONGTAI
from sandbox.people import CoverageRow
from sandbox.proof import differences
from schemas.payer import Operation
from store import coverage, invariants, rulebooks
from store.invariants import INVARIANTS
from store.notices import NoticeProgress

CONCURRENCY = 8
INVARIANT_S_MAX = 60.0
_LOST = (FaultKind.LOST_ANSWER, Operation.SETTLE)
_FAULTS: Mapping[str, tuple[tuple[FaultKind, Operation], ...]] = {
    parties.ANKANG: (_LOST,),
    parties.BASIC: (_LOST, (FaultKind.GARBAGE, Operation.CANCEL)),
    GUANGXI_BASIC: (_LOST,),
    NATIONAL_BASIC: (_LOST,),
    YONGTAI: (_LOST,),
}
"""Each strikes twice. Only parties that can be asked, repeated or reversed lose answers: elsewhere people decide."""
_STRIKES = 2

_TOLD = text("SELECT payer, state, count(*) AS cases FROM notice GROUP BY 1, 2")
_HOSTED = text(
    "SELECT h.party, c.institution, c.settlement_no, sum(h.amount_fen) AS fen FROM hosted_claim h "
    "JOIN settlement_case c USING (case_id) WHERE h.state = 'approved' GROUP BY 1, 2, 3"
)
_DOUBTS = text(
    "SELECT l.payer, count(DISTINCT (l.case_id, l.leg_no)) AS cases, "
    "count(DISTINCT (l.case_id, l.leg_no)) FILTER (WHERE l.state IN ('in_doubt', 'reversing')) AS open "
    "FROM settlement_leg l JOIN exchange e ON e.case_id = l.case_id AND e.leg_no = l.leg_no "
    "WHERE e.direction = 'out' AND l.payer = e.party AND (e.operation = 'inquire' OR e.attempt > 1) GROUP BY 1"
)
_LEGS = text(
    "SELECT l.payer, l.state, count(*) AS cases, sum(l.amount_fen) AS fen FROM settlement_leg l "
    "JOIN settlement_case c USING (case_id) WHERE c.purpose = 'settle' GROUP BY 1, 2"
)


@dataclass(slots=True)
class PartySeen:
    """What became of one party's part; fen are what it bears in the end."""

    party: str
    dialect: str
    states: Counter[str] = field(default_factory=Counter)
    fen: int = 0
    doubts: int = 0
    doubts_open: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """Its notices by state."""


@dataclass(slots=True)
class MixedReport:
    """Everything about a mixed day."""

    day: str
    took_s: float
    ways: Counter[tuple[str, str]]
    """By region and way in: settlements."""
    said: Counter[str]
    """By transaction: messages that were answered."""
    parties: list[PartySeen]
    tally: Tally
    proof: Proof
    broken: dict[str, int]
    """Invariants that do not hold, with how many rows."""

    @property
    def good(self) -> bool:
        """Whether the books agree and the database is sound."""
        return self.proof.agree and not self.broken


@dataclass(slots=True)
class Traffic:
    """The day as it goes; `took` is called under the lock."""

    senders: Senders
    tally: Tally = field(default_factory=Tally)
    ways: Counter[tuple[str, str]] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def live(self, one: MixedCase) -> None:
        """One bill from its registration to the end."""
        for request in one.before:
            self._say(one.way, request)
        first = self._say(one.way, one.settle)
        if first.answer is None:
            return
        with self.lock:
            self.tally.take(one.case.visit_kind, first.answer)
            self.tally.latencies_s.append(first.latency_s)
            self.ways[one.region, one.way] += 1
        if one.repeated:
            self._repeat(one, first.answer)
        if one.undo is not None:
            self.undo(one, one.undo)

    def unheard(self, one: MixedCase, result: Result) -> None:
        """Count a bill whose answer goes into nobody's book."""
        with self.lock:
            if result.answer is None:
                self.tally.troubles.append(f"{one.settle.transaction}: {one.settle.key} was not settled")
            else:
                self.tally.take(one.case.visit_kind, result.answer)
                self.ways[one.region, one.way] += 1

    def _repeat(self, one: MixedCase, first: dict[str, Any]) -> None:
        again = self._say(one.way, one.settle).answer or {}
        with self.lock:
            self.tally.repeats += 1
            if again.get("case_id") != first["case_id"]:
                self.tally.troubles.append(f"a repeat brought another case: {one.settle.key}")

    def undo(self, one: MixedCase, undo: HospitalRequest) -> None:
        """Undo a settlement; it must end undone or on its way there."""
        answer = self._say(one.way, undo).answer or {}
        with self.lock:
            self.tally.cancels += 1
            if answer and answer["status"] not in ("cancelled", "cancelling"):
                self.tally.troubles.append(f"not undone: {undo.key} ({answer['status']})")

    def _say(self, way: str, request: HospitalRequest) -> Result:
        result = self.senders.send(way, request)
        with self.lock:
            if result.answer is None:
                told = result.error or {}
                self.tally.troubles.append(f"{request.transaction} by {way}: {request.key} ({told.get('code', told)})")
            else:
                self.said[request.transaction] += 1
        return result


def write_secrets(stage: Stage) -> None:
    """The file of keys that the hub needs to speak to the cast."""
    (stage.folder / PARTY_SECRETS).write_text(yaml.safe_dump(SECRETS), encoding="utf-8")


def prepare(
    stage: Stage, engine: Engine, content: str, policies_of: Iterable[CoverageRow], now: datetime | None = None
) -> None:
    """Rule book (`content`, YAML) and policies, in force before the hub starts."""
    (stage.folder / "rules.yaml").write_text(content, encoding="utf-8")
    policies = stage.folder / "coverage.csv"
    write_coverage(policies, policies_of)
    rows = read_coverage(policies, stage.environment()["HUB_PERSON_KEY_SECRET"].encode())
    with engine.begin() as connection:
        version = rulebooks.add(connection, read_rule_book(content).title, content)
        rulebooks.activate(connection, version, now or datetime.now(UTC))
        coverage.add(connection, rows)


def misbehave(control: Mapping[str, str]) -> None:
    """Let some parties misbehave a few times."""
    for code, kinds in _FAULTS.items():
        script = [
            Fault(kind=kind, operation=operation, count=_STRIKES).model_dump(mode="json", exclude_none=True)
            for kind, operation in kinds
        ]
        answer = urllib3.request("POST", f"{control[code]}/sandbox/faults?seed=3", body=orjson.dumps(script))
        if answer.status != 200:
            raise ValueError(f"{code} takes no fault script: {answer.data!r}")


def live(stage: Stage, engine: Engine, day: MixedDay, control: Mapping[str, str], advance: Any) -> MixedReport:
    """Live the day, wait until nothing is open, compare."""
    book = HospitalBook(stage.folder / "hospitals.sqlite3")
    senders = Senders(stage.hub_url, book, CONCURRENCY)
    try:
        run, cases, begun = Traffic(senders), list(day), time.monotonic()
        with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="hospital") as workers:
            for number, done in enumerate(as_completed([workers.submit(run.live, one) for one in cases]), 1):
                done.result()
                stage.check()
                advance("settled", number)
        took_s = time.monotonic() - begun
        settled_down = _settle_down(senders, book, engine)
        proof = _prove(engine, control, book, run.tally, cases, settled_down)
    finally:
        senders.close()
        book.close()
    return MixedReport(
        day.day.isoformat(), took_s, run.ways, run.said, _seen(stage, engine), run.tally, proof, _broken(engine)
    )


def _settle_down(senders: Senders, book: HospitalBook, engine: Engine) -> bool:
    """Wait until every case has its final word and every notice its answer."""
    deadline = time.monotonic() + FINAL_WAIT_S_MAX
    while True:
        for _ in senders.http.refresh():
            pass
        if not book.open_cases() and not _open_notices(engine):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _open_notices(engine: Engine) -> int:
    with engine.connect() as connection:
        return sum(row.cases for row in connection.execute(_TOLD) if row.state == NoticeProgress.WAITING)


def _prove(
    engine: Engine,
    control: Mapping[str, str],
    book: HospitalBook,
    tally: Tally,
    cases: list[MixedCase],
    settled_down: bool,
) -> Proof:
    sides = {
        "payers' books": _by_books(engine, control, cases),
        "hub's legs": ledger.borne_by_legs(engine),
        "hospitals": ledger.borne_as_told(book),
    }
    with engine.connect() as connection:
        dead = int(connection.execute(text("SELECT count(*) FROM dead_letter")).scalar_one())
    settlements = sum(1 for _ in book.all())
    return Proof(settlements, sides, differences(sides), ledger.wrong_sums(book), tally.troubles, dead, settled_down)


def _by_books(engine: Engine, control: Mapping[str, str], cases: list[MixedCase]) -> ledger.Borne:
    """The cast's books; the book of the hub's own product; and, of the basic system that adjudicates by itself, its
    messages."""
    borne = ledger.borne_by_books(control, [code for code in control if code != RECORDED_BASIC])
    with engine.connect() as connection:
        hosted = {(row.party, row.institution, row.settlement_no): int(row.fen) for row in connection.execute(_HOSTED)}
    own = {
        (payer, one.case.institution, one.case.settlement_no): fen
        for one in cases
        if one.settle.transaction == "adjudication.upload" and one.undo is None
        for _, payer, fen in recorded_shares(one.case)
        if payer == RECORDED_BASIC
    }
    return {key: fen for key, fen in {**borne, **hosted, **own}.items() if fen}


def _seen(stage: Stage, engine: Engine) -> list[PartySeen]:
    book = read_rule_book((stage.folder / "rules.yaml").read_text(encoding="utf-8"))
    seen = {party.code: PartySeen(party.code, party.adapter) for party in book.parties}
    with engine.connect() as connection:
        for row in connection.execute(_LEGS):
            seen[row.payer].states[row.state] += row.cases
            seen[row.payer].fen += int(row.fen) if row.state == "approved" else 0
        for row in connection.execute(_DOUBTS):
            seen[row.payer].doubts, seen[row.payer].doubts_open = row.cases, row.open
        for row in connection.execute(_TOLD):
            seen[row.payer].told[row.state] += row.cases
    return list(seen.values())


def _broken(engine: Engine) -> dict[str, int]:
    """What `hub verify` would find."""
    return dict(_not_holding(engine))


def _not_holding(engine: Engine) -> Iterator[tuple[str, int]]:
    for one in INVARIANTS:
        with engine.connect() as connection:
            invariants.prepare(connection, INVARIANT_S_MAX)
            if rows := invariants.broken(connection, one, None):
                yield one.code, len(rows)
