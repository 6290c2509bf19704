"""A run on one party: every check that applies, then the clean-up, then the books."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from hub.certify import books, golden, inquiries, notices, refusals, repeats, statements, trouble, undoing
from hub.certify.books import back_to
from hub.certify.checks import CHECKS, Check, CheckFailed, Group, NotApplicable, Result, Verdict, both, must
from hub.certify.cleaning import clean_up
from hub.certify.control import Sums
from hub.certify.stage import Stage, Standing
from schemas.base import Bilingual
from schemas.errors import HubError
from schemas.money import yuan_of

SHELVES = (golden, refusals, repeats, undoing, inquiries, trouble, notices, books, statements)
"""Where the checks are: importing them registers them."""

LEFT_NOTHING = Check(
    "cleanup.all_undone",
    Group.BOOKS,
    both(("测试产生的结算全部撤回", "Everything that the run settled is taken back")),
    both(("没有遗留", "nothing is left")),
    lambda _: None,
)
BOOKS_AT_ZERO = Check(
    "books.zero",
    Group.BOOKS,
    both(("结束时对方账簿回到开始时的金额", "At the end the party's book is where it was at the begin")),
    both(("差额 0.00", "a difference of 0.00")),
    lambda _: None,
    with_control=True,
)
_WORDS = {
    "idempotent_submit": "idempotent_submit（重复无害）",
    "inquiry": "inquiry（查询）",
    "reversal": "reversal（冲正）",
    "cancel": "cancel（撤销）",
    "trial": "trial（试算）",
    "statements": "statements（对账单）",
}


@dataclass(frozen=True, slots=True)
class Left:
    """A claim that the party still holds, or may hold."""

    request_id: str
    settlement_no: str
    standing: str
    amount_fen: int
    reference: str


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run. `facts` are for the head of the report, in their order."""

    party: str
    name: Bilingual
    adapter: str
    facts: tuple[tuple[str, str], ...]
    seed: int
    begun_at: datetime
    took_ms: float
    results: tuple[Result, ...]
    left: tuple[Left, ...] = field(default=())

    def count(self, verdict: Verdict) -> int:
        """How many checks ended so."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def ok(self) -> bool:
        """Nothing failed and nothing is left at the party."""
        return not self.count(Verdict.FAILED) and not self.left and self.count(Verdict.PASSED) > 0


Told = Callable[[Result], None]


def certify(stage: Stage, seed: int, endpoint: str, told: Told = lambda _: None) -> Report:
    """Run every check on a party; whatever happens, what was settled is taken back at the end."""
    begun_at, begun = datetime.now(UTC), perf_counter()
    before = stage.control.sums() if stage.control else None
    results: list[Result] = []

    def add(result: Result) -> None:
        results.append(result)
        told(result)

    try:
        for one in sorted(CHECKS, key=lambda one: list(Group).index(one.group)):
            add(run_check(stage, one))
    finally:
        add(_performed(stage, LEFT_NOTHING, lambda: _cleaned(stage)))
    if before is not None:
        add(_performed(stage, BOOKS_AT_ZERO, lambda: back_to(stage, before)))
    return Report(
        party=stage.party.code,
        name=stage.party.name,
        adapter=stage.party.adapter,
        facts=tuple(_facts(stage, endpoint, before)),
        seed=seed,
        begun_at=begun_at,
        took_ms=(perf_counter() - begun) * 1000,
        results=tuple(results),
        left=tuple(_left(stage)),
    )


def run_check(stage: Stage, one: Check) -> Result:
    """One check, unless the party does not promise what it is about."""
    missing = _missing(stage, one)
    if missing is not None:
        return Result(one.id, one.group, one.proves, one.expected, Verdict.NOT_APPLICABLE, why=missing)
    result = _performed(stage, one, lambda: one.run(stage))
    if one.with_control and stage.control is not None:
        stage.control.heal()
    return result


def _missing(stage: Stage, one: Check) -> Bilingual | None:
    lacking = [name for name in one.needs if not getattr(stage.can, name)]
    if lacking:
        names = ", ".join(lacking)
        return Bilingual(
            zh=f"该方未声明 {'、'.join(_WORDS[name] for name in lacking)}", en=f"the party does not promise {names}"
        )
    if one.by_call and stage.can.by_queue:
        return both(("队列方对非任务报文不作答复", "by queue nobody is told about a message that is no task"))
    if one.with_control and stage.control is None:
        return both(("需要沙箱的控制地址（--control）", "needs a sandbox party's control address (--control)"))
    return None


def _performed(stage: Stage, one: Check, run: Callable[[], None]) -> Result:
    stage.begin()
    begun = perf_counter()
    verdict, why = Verdict.PASSED, None
    try:
        run()
    except NotApplicable as reason:
        verdict, why = Verdict.NOT_APPLICABLE, reason.words
    except CheckFailed as failed:
        verdict, why = Verdict.FAILED, failed.words
    except HubError as error:
        verdict, why = Verdict.FAILED, _same(f"{type(error).__name__} {error.code}: {error.message}")
    except Exception as error:  # noqa: BLE001 - what an adapter stumbles over is the finding, and the run goes on
        verdict, why = Verdict.FAILED, stumbled(error)
    took_ms = (perf_counter() - begun) * 1000
    said, evidence = tuple(stage.said), tuple(stage.evidence)
    return Result(one.id, one.group, one.proves, one.expected, verdict, said, why, took_ms, evidence)


def stumbled(error: Exception) -> Bilingual:
    """A bug of ours by its name and place; its text may hold what nobody should read."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return _same(f"the adapter stumbled: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}")


def _same(text: str) -> Bilingual:
    return Bilingual(zh=text, en=text)


def _cleaned(stage: Stage) -> None:
    left = clean_up(stage)
    numbers = ", ".join(claim.task.request.settlement_no for claim in left)
    must(not left, f"未能撤回，请人工核对: {numbers}", f"NOT taken back, somebody must look: {numbers}")


def _left(stage: Stage) -> Iterable[Left]:
    for claim in stage.standing():
        yield Left(
            claim.task.request_id,
            claim.task.request.settlement_no,
            claim.standing.value,
            claim.decision.amount_fen if claim.standing is Standing.STANDS else 0,
            claim.decision.payer_reference or "",
        )


def _facts(stage: Stage, endpoint: str, before: Sums | None) -> Iterable[tuple[str, str]]:
    terms, can = stage.bills.terms, stage.can
    yield "endpoint 地址", endpoint
    yield "product 产品", f"{terms.product}, {terms.layer}, {terms.region}, {terms.kind}"
    yield "institution 机构", terms.institution
    promised = [name for name in _WORDS if getattr(can, name)]
    yield "promises 声明的能力", ", ".join(promised) or "-"
    yield "timeout 超时", f"{stage.party.timeout_s:g} s"
    yield "notices 通知", ", ".join(sorted(stage.party.notices)) or "-"
    if before is not None:
        yield "book at the begin 期初账簿", yuan_of(before.net_fen) if before.net_fen >= 0 else str(before.net_fen)
    yield "hub", version("settlement-hub")
