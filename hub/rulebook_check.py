"""Rule books side by side: what is wrong with a file, what changes with it, and whose plans would differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.registry import HOSTED, make_adapter
from routing.plan import Coverage, Plan, plan_case
from routing.rulebook import Party, Rule, RuleBook
from routing.rulebook_file import Complaint, InvalidRuleBook, read_rule_book
from schemas.base import Value
from schemas.codes import Layer
from schemas.errors import InvalidMessage
from schemas.payer import Capabilities
from schemas.settlement import SettlementRequest
from schemas.transactions import SPECS, Transaction

PASSED_ON = frozenset(name.value for name, spec in SPECS.items() if spec.passed_on) | {Transaction.CANCEL.value}
"""What the hub tells payers of: a dialect may have words for more."""


def read_checked(content: str) -> RuleBook:
    """The rule book in `content`, with adapters that exist and can be built, and hosted products for all rules that
    need one; InvalidRuleBook with every complaint."""
    book = read_rule_book(content)
    if complaints := [*_adapter_complaints(content, book), *_product_complaints(content, book)]:
        raise InvalidRuleBook(complaints)
    return book


def _adapter_complaints(content: str, book: RuleBook) -> Iterator[Complaint]:
    for index, party in enumerate(book.parties):
        try:
            adapter = make_adapter(party.settings())
            adapter.close()
        except (ValueError, OSError) as error:
            yield Complaint(_line_naming("code", party.code, content), f"parties[{index}]", str(error))
        else:
            for problem in _withheld_too_much(party, adapter.capabilities):
                yield Complaint(_line_naming("code", party.code, content), f"parties[{index}].discloses", problem)
            can = adapter.capabilities.notices & PASSED_ON
            if unknown := sorted(party.notices - can):
                problem = f"{party.adapter} cannot be told about {', '.join(unknown)}; it can about "
                problem += ", ".join(sorted(can)) or "nothing"
                yield Complaint(_line_naming("code", party.code, content), f"parties[{index}].notices", problem)


def _withheld_too_much(party: Party, can: Capabilities) -> Iterator[str]:
    """What its dialect cannot do without and its map withholds: said now, not when the first case comes."""
    if missing := sorted(can.needs - party.disclosure.fields):
        yield f"{party.adapter} needs {', '.join(missing)} to be disclosed"
    if "fees.upload" in party.notices and party.disclosure.fees not in ("all", "in_scope"):
        yield "who is told about fees.upload must be told fees: all, or in_scope"


def _product_complaints(content: str, book: RuleBook) -> Iterator[Complaint]:
    hosted = {party.code for party in book.parties if party.adapter == HOSTED}
    for index, rule in enumerate(book.rules):
        if hosted & {payer.party for payer in rule.payers} and (problem := _hosted_problem(rule, book)):
            yield Complaint(_line_naming("id", rule.id, content), f"rules[{index}]", problem)


def _hosted_problem(rule: Rule, book: RuleBook) -> str:
    """What keeps a rule from being paid by a product of the hub's own; empty when nothing does."""
    product = book.product_by_code.get(rule.product)
    if rule.layer is Layer.BASIC or len(rule.payers) > 1:
        return f"{HOSTED} pays alone, after the basic system: give it a rule of its own"
    if rule.adjudicated_by == "basic":
        return f"{HOSTED} adjudicates itself: nothing that the basic system decided would use up its caps"
    if product is None:
        return f"product {rule.product} is not among the products, where its terms are"
    if not product.covers(rule.valid_from, rule.valid_until):
        return f"product {rule.product} has no terms for some of the days on which the rule holds"
    if product.needs_coverage and not rule.needs_coverage:
        return f"product {rule.product} counts from the beginning of the policy: set needs_coverage"
    return ""


def _line_naming(what: str, code: str, content: str) -> int:
    lines = content.splitlines()
    return next((number for number, line in enumerate(lines, 1) if what in line and code in line), 1)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two rule books. `fields` are those that differ, empty for added and removed."""

    kind: str
    what: str
    name: str
    fields: tuple[str, ...] = ()


def changes(old: RuleBook | None, new: RuleBook) -> list[Change]:
    """What is added, removed and changed among parties, institutions, rules and products; all is added to no book."""
    found: list[Change] = []
    for what, before, after in (
        ("party", old.party_by_code if old else {}, new.party_by_code),
        ("institution", old.institution_by_code if old else {}, new.institution_by_code),
        ("rule", old.rule_by_id if old else {}, new.rule_by_id),
        ("product", old.product_by_code if old else {}, new.product_by_code),
    ):
        found += _changes(what, before, after)
    return found


def _changes(what: str, before: Mapping[str, Value], after: Mapping[str, Value]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield Change("removed", what, name)
        elif name not in before:
            yield Change("added", what, name)
        elif before[name] != after[name]:
            fields = type(after[name]).model_fields
            differ = (field for field in fields if getattr(before[name], field) != getattr(after[name], field))
            yield Change("changed", what, name, tuple(differ))


def needs_restart(old: RuleBook, new: RuleBook) -> bool:
    """Whether running processes must be started again: they were built for the parties and queues of their start."""
    return _built_for(old) != _built_for(new)


def _built_for(book: RuleBook) -> tuple[object, ...]:
    with_queues = frozenset(one.code for one in book.institutions if one.amqp)
    payers = {party.code: (party.settings(), party.disclosure, party.notices, party.amqp) for party in book.parties}
    return payers, with_queues, frozenset(book.staging_by_code.items())


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A case of the past with what planning needs."""

    case_id: str
    institution: str
    settlement_no: str
    request: SettlementRequest
    coverages: Sequence[Coverage]


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """A case that the two rule books would send to other payers, or by other rules."""

    case_id: str
    institution: str
    settlement_no: str
    before: str
    after: str


def plan_differences(old: RuleBook, new: RuleBook, past: Iterable[StoredRequest]) -> list[PlanDifference]:
    """Plan every case with both rule books; those whose plans differ."""
    found = []
    for one in past:
        before, after = _planned(old, one), _planned(new, one)
        if before != after:
            found.append(PlanDifference(one.case_id, one.institution, one.settlement_no, before, after))
    return found


def _planned(book: RuleBook, one: StoredRequest) -> str:
    """A plan in one line; where there is none, the reason."""
    if one.institution not in book.institution_by_code:
        return "refused: the institution is not registered"
    try:
        plan = plan_case(book, one.request, one.coverages)
    except InvalidMessage as error:
        return f"refused: {error.code}"
    return " > ".join(_leg_names(plan))


def _leg_names(plan: Plan) -> Iterator[str]:
    for leg in plan.legs:
        share = f" {leg.weight}" if leg.split else ""
        yield f"{leg.payer}{share} ({leg.rule})"
