"""Products that the hub adjudicates itself, on PostgreSQL: nothing is used up twice, and what is undone comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from adapters.insurer.hosted.client import InsurerHosted
from hub.books import ActiveBook
from hub.clock import SystemClock
from hub.hosted import HostedProducts
from routing.rulebook import RuleBook
from routing.states import LegState
from schemas.codes import Layer, Outcome
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.hosted import HostedAnswer, HostedProduct
from schemas.payer import ClaimTask, Decision, Operation, PartySettings, PayerTask
from schemas.settlement import SettlementRequest
from store import invariants
from store.coverage import CoverageRow, add, person_key
from store.database import open_engine
from store.invariants import INVARIANTS
from tests.support.builders import (
    BASIC_RULE,
    COMMERCIAL,
    COMMERCIAL_PRODUCT,
    a_basic_decision,
    a_party,
    a_rule,
    a_rule_book,
    a_settle_request,
    an_id_card,
    as_bytes,
)
from tests.support.hosted_products import a_product, some_terms
from tests.support.hub_in_process import PERSON_SECRET, a_hub
from tests.support.payer_tasks import a_task
from tests.support.soundness import broken

SEED = 20261122
SECRET = PERSON_SECRET.encode()
YEARLY = some_terms(deductible="100.00", deductible_per="year", ratio_bp=8000, cap_per_year="400.00")


@pytest.fixture
def reports(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, by_key=False)
    yield engine
    engine.dispose()


@dataclass
class Insurer:
    """The hosted insurer as the hub calls it, with one product."""

    url: str
    product: HostedProduct
    engines: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        book: RuleBook = a_rule_book().model_copy(update={"products": (self.product,)})
        self.book = HostedProducts(self._open, lambda: ActiveBook(7, book), SECRET, SystemClock())
        self.adapter = InsurerHosted(PartySettings(code="OWN", adapter="insurer.hosted"), self.book)

    def _open(self) -> Engine:
        self.engines.append(open_engine(self.url, pool_size=8))
        return self.engines[-1]

    def ask(self, task: PayerTask) -> Decision:
        return self.adapter.decode(task, self.adapter.send(self.adapter.prepare(task), 5.0))


@pytest.fixture
def insurer(database_url: str) -> Iterator[Insurer]:
    made = Insurer(database_url, a_product(YEARLY))
    yield made
    made.adapter.close()


def a_claim(
    number: int, fen: int = 30_000, on: str = "2026-03-02", person: str = an_id_card(), **changes: Any
) -> PayerTask:
    """A claim of which the basic system pays nothing, so that everything counts."""
    message = a_settle_request(fen)
    message["visit"] |= {"started_at": f"{on}T09:00:00+08:00"}
    message["patient"] |= {"id_no": person}
    request = SettlementRequest.model_validate_json(as_bytes(message))
    case_id = f"01890000-0000-7000-8000-{number:012d}"
    values: dict[str, Any] = {
        "request_id": f"{case_id.replace('-', '')}-2",
        "case_id": case_id,
        "leg_no": 2,
        "payer": "OWN",
        "layer": Layer.COMMERCIAL,
        "product": "CITY-PLUS",
        "request": request,
        "basic": a_basic_decision(fen, 0).basic,
    }
    return a_task(**values | changes)


def undoing(claim: PayerTask, operation: Operation, amount_fen: int = 0, reference: str | None = None) -> PayerTask:
    """The cancel or reversal of a claim."""
    return replace(
        claim,
        operation=operation,
        request_id=f"{claim.request_id}-c",
        original_request_id=claim.request_id,
        original_reference=reference,
        original_amount_fen=amount_fen,
    )


def asking(claim: PayerTask) -> PayerTask:
    return replace(
        claim, operation=Operation.INQUIRE, request_id=f"{claim.request_id}-q1", original_request_id=claim.request_id
    )


def accumulators(engine: Engine) -> dict[tuple[str, int], tuple[int, int, int]]:
    """(policy, year) -> visits, deductible used, paid."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT policy_no, year, visits, deductible_fen, paid_fen FROM accumulator"))
        return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def test_the_deductible_of_a_year_and_its_cap_are_used_up_claim_by_claim(insurer, reports):
    paid = [insurer.ask(a_claim(number)).amount_fen for number in range(1, 4)]
    next_year = insurer.ask(a_claim(4, on="2027-01-01")).amount_fen

    assert paid == [16_000, 24_000, 0]
    assert next_year == 16_000
    assert accumulators(reports) == {
        ("", 0): (3, 20_000, 56_000),
        ("", 2026): (2, 10_000, 40_000),
        ("", 2027): (1, 10_000, 16_000),
    }
    assert broken(reports) == {}


def test_a_repeat_gets_the_first_answer_and_has_no_second_effect(insurer, reports):
    first, later = a_claim(1), a_claim(2)

    answers = [insurer.ask(first), insurer.ask(later), insurer.ask(first), insurer.ask(asking(first))]

    assert answers[0] == answers[2] == answers[3]
    assert answers[0].payer_reference == f"HC-{first.request_id}"
    assert accumulators(reports)["", 2026] == (2, 10_000, 40_000)


def test_a_trial_says_what_a_settlement_would_and_leaves_nothing_behind(insurer, reports):
    insurer.ask(a_claim(1))
    before = accumulators(reports)

    tried = insurer.ask(a_claim(2, operation=Operation.TRIAL))

    assert accumulators(reports) == before
    assert (tried.amount_fen, tried.payer_reference) == (24_000, None)
    assert insurer.ask(asking(a_claim(2))).outcome is Outcome.NOT_FOUND
    assert insurer.ask(a_claim(2)).amount_fen == 24_000


@pytest.mark.parametrize("operation", [Operation.CANCEL, Operation.REVERSE])
def test_what_is_undone_gives_back_what_it_used_and_later_claims_keep_theirs(insurer, reports, operation):
    first, second = a_claim(1, 15_000), a_claim(2, 15_000)
    stood = insurer.ask(first)
    insurer.ask(second)

    undo = undoing(first, operation, stood.amount_fen, stood.payer_reference)
    answers = [insurer.ask(undo), insurer.ask(undo)]

    assert [(one.outcome, one.amount_fen) for one in answers] == [(Outcome.CANCELLED, 4_000)] * 2
    assert answers[0] == answers[1]
    assert accumulators(reports)["", 2026] == (1, 0, 12_000)
    # The deductible that came back is taken from the next claim.
    assert insurer.ask(a_claim(3, 15_000)).amount_fen == 4_000
    assert insurer.ask(first).reason_code == "product.undone"
    assert insurer.ask(asking(first)).outcome is Outcome.CANCELLED
    assert broken(reports) == {}


def test_a_reversal_that_comes_first_blocks_its_claim(insurer, reports):
    claim = a_claim(1)
    reversal = undoing(claim, Operation.REVERSE)

    said = [insurer.ask(reversal), insurer.ask(reversal)]

    assert {(one.outcome, one.amount_fen) for one in said} == {(Outcome.CANCELLED, 0)}
    assert insurer.ask(claim).reason_code == "product.undone"
    assert accumulators(reports).get(("", 2026), (0, 0, 0)) == (0, 0, 0)
    assert broken(reports) == {}


def test_a_cancel_must_name_what_stands(insurer, reports):
    claim, declined = a_claim(1), a_claim(2, 5_000, basic=a_basic_decision(5_000, 5_000).basic)
    stood = insurer.ask(claim)
    assert insurer.ask(declined).reason_code == "product.nothing_compliant"

    said = [
        insurer.ask(undoing(claim, Operation.CANCEL, stood.amount_fen + 1, stood.payer_reference)),
        insurer.ask(undoing(claim, Operation.CANCEL, stood.amount_fen, "HC-another")),
        insurer.ask(undoing(declined, Operation.CANCEL)),
        insurer.ask(undoing(a_claim(3), Operation.CANCEL)),
    ]

    assert [(one.outcome, one.reason_code) for one in said] == [
        (Outcome.DECLINED, "product.not_mirrored"),
        (Outcome.DECLINED, "product.not_mirrored"),
        (Outcome.DECLINED, "product.not_standing"),
        (Outcome.DECLINED, "product.no_such_claim"),
    ]
    assert insurer.ask(undoing(declined, Operation.REVERSE)).outcome is Outcome.CANCELLED
    assert insurer.ask(declined).reason_code == "product.undone"
    assert accumulators(reports)["", 2026] == (1, 10_000, 16_000)


def test_claims_of_one_person_at_the_same_moment_do_not_use_the_same_remainder(insurer, reports):
    """Eight at once, of two years: the deductible is taken once in each, and the caps hold."""
    insurer.product = a_product(YEARLY | {"cap_for_life": "500.00"})
    insurer.__post_init__()
    claims = [a_claim(number, on=f"{2026 + number % 2}-01-01") for number in range(8)]
    together = threading.Barrier(len(claims))
    said: list[Decision] = []

    def settle(claim: PayerTask) -> None:
        together.wait()
        said.append(insurer.ask(claim))

    threads = [threading.Thread(target=settle, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(said) == len(claims)
    assert sum(one.amount_fen for one in said) == 50_000
    found = accumulators(reports)
    assert found["", 0][2] == 50_000
    assert all(found["", year][1] in (0, 10_000) and found["", year][2] <= 40_000 for year in (2026, 2027))
    assert broken(reports) == {}


def test_a_claim_and_its_reversal_at_the_same_moment_leave_nothing_standing(insurer, reports):
    for number in range(1, 9):
        claim, both = a_claim(number), threading.Barrier(3)
        said: list[Decision] = []

        def ask(task: PayerTask, both: threading.Barrier = both, said: list[Decision] = said) -> None:
            both.wait()
            said.append(insurer.ask(task))

        tasks = [claim, claim, undoing(claim, Operation.REVERSE)]
        threads = [threading.Thread(target=ask, args=(task,)) for task in tasks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 3

    assert accumulators(reports).get(("", 2026), (0, 0, 0)) == (0, 0, 0)
    assert broken(reports) == {}


def test_whatever_is_settled_and_undone_the_accumulators_are_a_fresh_sum(insurer, reports):
    chance = Random(SEED)
    print(f"seed {SEED}")
    known: dict[int, PayerTask] = {}
    people = [an_id_card(f"1101011990030712{number}") for number in range(3)]
    standing: dict[str, Decision] = {}
    for number in range(60):
        if known and chance.random() < 0.4:
            claim = known[chance.choice(list(known))]
            stood = standing.pop(claim.request_id, None)
            if stood is not None and chance.random() < 0.5:
                insurer.ask(undoing(claim, Operation.CANCEL, stood.amount_fen, stood.payer_reference))
            else:
                insurer.ask(undoing(claim, Operation.REVERSE))
            continue
        day = f"202{chance.randrange(6, 8)}-0{chance.randrange(1, 10)}-01"
        claim = known[number] = a_claim(number, chance.randrange(1, 40_000), on=day, person=chance.choice(people))
        said = insurer.ask(claim)
        if said.outcome is Outcome.APPROVED:
            standing[claim.request_id] = said
        assert insurer.ask(claim) == said

    with reports.connect() as connection:
        rows = connection.execute(text("SELECT year, deductible_fen, paid_fen FROM accumulator WHERE year > 0")).all()
        life = connection.execute(text("SELECT sum(paid_fen) FROM accumulator WHERE year = 0")).scalar_one()
    assert broken(reports) == {}
    assert life == sum(row.paid_fen for row in rows) == sum(said.amount_fen for said in standing.values())
    assert standing
    assert all(row.deductible_fen <= 10_000 and row.paid_fen <= 40_000 for row in rows)


def cover(url: str, *policies: tuple[str, date]) -> None:
    engine = open_engine(url)
    key = person_key(SECRET, "01", an_id_card())
    with engine.begin() as connection:
        add(connection, [CoverageRow(key, "CITY-PLUS", number, "440300", since, None) for number, since in policies])
    engine.dispose()


def test_the_beginning_of_the_policy_decides_waiting_and_year(database_url, reports):
    cover(database_url, ("P-1", date(2025, 3, 3)), ("P-2", date(2026, 2, 20)))
    insurer = Insurer(database_url, a_product(some_terms(waiting={"days": 30}), year="policy"))

    said = [insurer.ask(a_claim(number, policy_no=policy)) for number, policy in enumerate(("P-1", "P-2", "P-9"))]

    assert [one.reason_code for one in said] == ["", "product.waiting_period", "product.no_policy"]
    assert accumulators(reports)["P-1", 2025] == (1, 0, 30_000)
    insurer.adapter.close()


def test_a_product_that_the_rule_book_does_not_know_is_decided_by_people(insurer):
    unknown = a_claim(1, product="GONE")

    assert [insurer.ask(unknown).outcome, insurer.ask(unknown).outcome] == [Outcome.DEFERRED] * 2
    assert insurer.ask(undoing(unknown, Operation.REVERSE)).outcome is Outcome.CANCELLED


def test_a_database_that_fails_before_the_commit_has_stored_nothing(insurer):
    insurer.ask(a_claim(1))
    (engine,) = insurer.engines

    def fail(*_: object) -> None:
        raise OperationalError("the connection is gone", None, Exception())

    event.listen(engine, "begin", fail)
    with pytest.raises(Unavailable):
        insurer.ask(a_claim(2))
    event.remove(engine, "begin", fail)

    assert insurer.ask(asking(a_claim(2))).outcome is Outcome.NOT_FOUND


def test_a_commit_that_fails_may_have_succeeded(insurer):
    insurer.ask(a_claim(1))
    (engine,) = insurer.engines

    def fail(*_: object) -> None:
        raise OperationalError("the connection is gone", None, Exception())

    event.listen(engine, "commit", fail)
    with pytest.raises(OutcomeUnknown):
        insurer.ask(a_claim(2))
    event.remove(engine, "commit", fail)

    assert insurer.ask(a_claim(2)).outcome is Outcome.APPROVED


def test_an_adapter_without_a_book_is_never_told_anything():
    adapter = InsurerHosted(PartySettings(code="OWN", adapter="insurer.hosted"))

    for task in (a_claim(1), asking(a_claim(1)), undoing(a_claim(1), Operation.REVERSE)):
        with pytest.raises(Unavailable):
            adapter.send(adapter.prepare(task), 1.0)


HOSTED_RULE = a_rule("own", "commercial", COMMERCIAL, product=COMMERCIAL_PRODUCT, needs_coverage=True)
OWN = a_party(COMMERCIAL, adapter="insurer.hosted")
OWN_PRODUCT = {
    "code": COMMERCIAL_PRODUCT,
    "name": {"zh": "城市补充医疗", "en": "City plus"},
    "terms": [YEARLY | {"valid_from": "2020-01-01"}],
}


def test_a_case_is_paid_by_a_hosted_product_and_its_cancel_gives_everything_back(database_url, reports):
    """The basic system pays 150.00 of 300.00; 150.00 less the year's deductible of 100.00 is paid at 80 %."""
    with a_hub(database_url, BASIC_RULE, HOSTED_RULE, parties=[OWN], products=[OWN_PRODUCT]) as hub:
        hub.cover()
        first = hub.answered(hub.settle("S-1").case_id)
        second = hub.answered(hub.settle("S-2").case_id)
        taken = hub.cancel("S-1")
        hub.answered(taken.case_id, 2)
        third = hub.answered(hub.trial().case_id)

        share = next(one for one in first["shares"] if one["payer"] == COMMERCIAL)
        assert (share["amount"], first["cash"]) == ("40.00", "110.00")
        assert "80%" in share["reason"]["zh"]
        assert [one["amount"] for one in second["shares"]] == ["150.00", "120.00"]
        assert [one["amount"] for one in third["shares"]] == ["150.00", "40.00"]
        assert accumulators(reports)["POL-1", 2026] == (1, 0, 12_000)
        assert broken(reports) == {}
        for code, spoil in SPOILT.items():
            with reports.connect() as connection:
                for statement in spoil:
                    connection.execute(text(statement))
                found = [one.code for one in INVARIANTS if invariants.broken(connection, one, None)]
            assert found == [code]


SPOILT = {
    "I20": ["UPDATE accumulator SET paid_fen = paid_fen + 1 WHERE year = 0"],
    "I21": [
        "UPDATE hosted_claim SET amount_fen = amount_fen + 1 WHERE state = 'approved'",
        "UPDATE accumulator SET paid_fen = paid_fen + 1",
    ],
}
"""Spoilt in a transaction that is rolled back."""


def test_an_answer_that_is_lost_after_its_commit_is_had_by_asking_again(database_url, reports):
    with a_hub(database_url, BASIC_RULE, HOSTED_RULE, parties=[OWN], products=[OWN_PRODUCT], running=False) as hub:
        hub.cover()
        book = hub.hub.payers[COMMERCIAL].adapter._book
        claim, lost = book.claim, []

        def lose_the_first(task: ClaimTask, timeout_s: float) -> HostedAnswer:
            answer = claim(task, timeout_s)
            if not lost:
                lost.append(answer)
                raise OutcomeUnknown("the answer is lost")
            return answer

        book.claim = lose_the_first
        case_id = hub.settle("S-1").case_id
        hub.pump()

        leg = hub.case(case_id).leg(2)
        assert (leg.state, leg.amount_fen, leg.payer_reference) == (LegState.APPROVED, 4_000, lost[0].payer_reference)
        assert leg.doubt_since is not None
        assert accumulators(reports)["POL-1", 2026] == (1, 10_000, 4_000)
        assert broken(reports) == {}
