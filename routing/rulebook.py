"""The rule book: parties, institutions and rules as data. Effective-dated, immutable once read, stored as versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from routing.links import InstitutionLink, PartyLink, StagingTable, party_problem, rule_problems, staging_problem
from routing.schemes import Scheme
from schemas.bank import BankAccount
from schemas.base import Bilingual, Identifier, InstitutionCode, PartyCode, RegionCode, Value
from schemas.codes import InsuranceType, Layer, MedicalType, VisitKind
from schemas.disclosure import USUAL, Disclosure
from schemas.hosted import HostedProduct
from schemas.money import Money
from schemas.payer import PartySettings


def _refuse(code: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(code, remedy)


def _not_empty(values: frozenset[object]) -> frozenset[object]:
    if not values:
        raise PydanticCustomError("too_short", "an empty list matches nothing")
    return values


NotEmpty = AfterValidator(_not_empty)


class Party(Value):
    """A payer's system and how to reach it. `adapter` is a name of the adapters' registry."""

    code: PartyCode
    kind: Literal["basic", "insurer"]
    name: Bilingual
    adapter: Identifier
    endpoint: str = ""
    region: RegionCode | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    late_approval: Literal["keep", "reverse"] = "keep"
    """An approval after the cashier's deadline stands (the patient is paid back), or is undone at the payer."""
    settle_window_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long a request may be under way inside the payer: only after it does "not found" mean anything. Twice the
    timeout, 10 s at least, when left out."""
    breaker_failures: Annotated[int, Field(ge=0, le=1000)] = 5
    """Calls that fail one after the other until the payer counts as down; 0 for never."""
    lacks: frozenset[Literal["idempotent_submit", "inquiry", "reversal", "cancel", "statements"]] = frozenset()
    """What this party's interface cannot be trusted with although its adapter knows how."""
    ca_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""
    options: dict[Identifier, str] = Field(default_factory=dict)
    """Switches of the party's dialect; its adapter's README names them. Never a secret."""
    amqp: bool = False
    """It sends messages itself, through an exchange of its own, and reads their answers from its queue."""
    notices: frozenset[str] = frozenset()
    """What the party wants to be told outside a settlement, by transaction: admission.register, fees.upload, ..."""

    discloses: Disclosure = Disclosure()
    """What the party may be told of a case, where its contract differs from what is usual for its kind."""
    link: PartyLink = "realtime"
    """How it is met: directly; through the hospital, which brings its result (`adjudicated`); by a table that the hub
    polls for its messages; by files of messages."""
    staging: StagingTable | None = None
    bank_account: BankAccount | None = None
    """Where it pays from, and where institutions pay back to."""

    @model_validator(mode="after")
    def _link_fits(self) -> Self:
        if problem := party_problem(self):
            raise _refuse("party.link", problem)
        return self

    @cached_property
    def disclosure(self) -> Disclosure:
        """The whole map of what it may be told."""
        return self.discloses.over(USUAL[self.kind])

    @property
    def window_s(self) -> float:
        """The settle window in seconds."""
        return self.settle_window_s if self.settle_window_s is not None else max(10.0, 2 * self.timeout_s)

    def settings(self, secrets: Mapping[str, str] | None = None) -> PartySettings:
        """What its adapter is built from. `secrets` are the party's own."""
        return PartySettings(
            code=self.code,
            adapter=self.adapter,
            endpoint=self.endpoint,
            timeout_s=self.timeout_s,
            concurrency=self.concurrency,
            region=self.region or "",
            ca_file=self.ca_file,
            client_certificate_file=self.client_certificate_file,
            client_key_file=self.client_key_file,
            options=self.options,
            secrets=secrets or {},
        )


class NationalProfile(Value):
    """How an institution speaks the national envelope. Its keys are in the file of the parties' secrets, never here."""

    signing: Literal["none", "envelope", "body", "gateway"] = "none"
    """`none` needs the bearer token of the other routes; `body` needs token and signature."""
    sign_in: Literal["no", "required"] = "no"
    """Whether a transaction names a `sign_no` that 9001 gave and 9002 did not end."""
    encryption: Literal["none", "ecb", "cbc", "gcm"] = "none"
    """The mode of SM4 where `enc_type` says that `input` is encrypted; answers are then encrypted alike."""
    refund_sign: Literal["minus", "plus"] = "minus"
    """The sign of the amounts in the answer to a cancellation."""
    balanced: Literal["0", "000000"] = "0"
    """stmt_rslt of 3201 where the totals agree; "1" says that they do not."""


class Institution(Value):
    """A hospital or pharmacy that may send. `amqp` gives it an exchange to write and a queue to read."""

    code: InstitutionCode
    name: str
    region: RegionCode
    deadline_s: Annotated[float, Field(ge=1, le=120)] = 15.0
    amqp: bool = False
    visits: Literal["none", "optional", "required"] = "none"
    """Whether its visits are registered with the hub before they are settled: never; when they are, the settlement must
    agree with them; always, and nothing else is settled."""
    national: NationalProfile = NationalProfile()
    checks: frozenset[Literal["mapping", "catalogue", "disease", "staff", "blacklist"]] = frozenset()
    """What a bill is held against before anybody is asked: the hospital's mappings, the region's catalogue, dictionary
    of diseases and blacklist, and the register of staff. Nothing when left out."""
    link: InstitutionLink = "realtime"
    """How its messages come: it sends them, or the hub polls a table of its own for them, or it brings files."""
    staging: StagingTable | None = None
    bank_account: BankAccount | None = None
    """Where payers pay to."""

    @model_validator(mode="after")
    def _link_fits(self) -> Self:
        if problem := staging_problem(self.link, self.staging):
            raise _refuse("institution.link", problem)
        return self


class Conditions(Value):
    """What a case must satisfy; a condition left out is no condition. Amounts compare with the bill's total."""

    regions: Annotated[frozenset[RegionCode], NotEmpty] | None = None
    insurance_types: Annotated[frozenset[InsuranceType], NotEmpty] | None = None
    visit_kinds: Annotated[frozenset[VisitKind], NotEmpty] | None = None
    medical_types: Annotated[frozenset[MedicalType], NotEmpty] | None = None
    institutions: Annotated[frozenset[InstitutionCode], NotEmpty] | None = None
    total_min: Money | None = None
    total_max: Money | None = None


class RulePayer(Value):
    """A payer of a rule. Several payers share the layer in proportion to their weights (coinsurance)."""

    party: PartyCode
    weight: Annotated[int, Field(ge=1, le=10_000)] = 100


class Rule(Value):
    """Who pays in a layer, for whom, and from when until when (last day included)."""

    id: Identifier
    layer: Layer
    order: Annotated[int, Field(ge=0, le=1000)] = 100
    product: Identifier
    payers: Annotated[tuple[RulePayer, ...], Field(min_length=1, max_length=10)]
    needs_coverage: bool = False
    independent: bool = False
    adjudicated_by: Literal["payer", "basic"] = "payer"
    """`basic`: the basic system adjudicates this layer too, and says so in `adjudicated`; the payer is only told."""
    called: Literal["sync", "post_upload"] = "sync"
    """`post_upload` (mode B): the hub hears of it after the patient has gone, by `adjudication.upload` only."""
    valid_from: date
    valid_until: date | None = None
    when: Conditions = Conditions()
    reason: Bilingual

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.valid_until is not None and self.valid_until < self.valid_from:
            raise _refuse("rule.valid_until", "valid_until: lies before valid_from")
        if len({payer.party for payer in self.payers}) != len(self.payers):
            raise _refuse("rule.payers", "payers: names a party twice")
        if self.layer is Layer.BASIC and (len(self.payers) > 1 or self.needs_coverage):
            raise _refuse("rule.layer", "layer: a basic rule has one payer and needs no coverage")
        if self.called == "post_upload" and self.adjudicated_by != "basic":
            raise _refuse("rule.called", "called: only what the basic system adjudicates can be uploaded afterwards")
        return self


class RuleBook(Value):
    """One version of everything that decides who pays."""

    title: str
    parties: tuple[Party, ...]
    institutions: tuple[Institution, ...]
    rules: tuple[Rule, ...]
    products: tuple[HostedProduct, ...] = ()
    """Those that the hub adjudicates itself, for parties with the adapter insurer.hosted."""
    reconciliation: tuple[Scheme, ...] = ()
    """How the books are compared with a party, where that differs from the usual (see `schemes_of`)."""

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        _unique("parties", (party.code for party in self.parties))
        _unique("institutions", (institution.code for institution in self.institutions))
        _unique("rules", (rule.id for rule in self.rules))
        _unique("products", (product.code for product in self.products))
        known = {party.code for party in self.parties}
        for index, rule in enumerate(self.rules):
            for payer in rule.payers:
                if payer.party not in known:
                    raise _refuse("rules.payers", f"rules[{index}]: payer {payer.party} is not among the parties")
        _unique("reconciliation", (scheme.name for scheme in self.reconciliation))
        for index, scheme in enumerate(self.reconciliation):
            if scheme.party not in known and scheme.party not in self.institution_by_code:
                remedy = f"reconciliation[{index}]: {scheme.party} is neither a party nor an institution"
                raise _refuse("reconciliation.party", remedy)
        self._payers_books_lie_apart()
        self._payers_pay_others()
        for index, problem in rule_problems(self.party_by_code, self.rules):
            raise _refuse("rules.link", f"rules[{index}]: {problem}")
        return self

    def _payers_books_lie_apart(self) -> None:
        """Two schemes that hold one share would find its difference twice. An institution's books make no entries."""
        payers = {party.code for party in self.parties}
        for index, scheme in enumerate(self.reconciliation):
            for other in self.reconciliation[:index]:
                if scheme.party != other.party or scheme.party not in payers:
                    continue
                if scheme.account != other.account:
                    remedy = (
                        f"reconciliation[{index}].account: {other.name} says {other.account}; a payer's claims hold "
                    )
                    remedy += "the personal accounts or they do not: say the same in all its schemes"
                    raise _refuse("reconciliation.account", remedy)
                if scheme.shares_books_with(other):
                    remedy = f"reconciliation[{index}].regions: a share may belong to {other.name} and {scheme.name}; "
                    remedy += "give each, by the same body, regions or insurance_types that the other does not name"
                    raise _refuse("reconciliation.overlap", remedy)

    def _payers_pay_others(self) -> None:
        """One number on both sides is a mistake in copying: its payments would end where they began."""
        payers = {party.bank_account.number: party.code for party in self.parties if party.bank_account}
        for index, one in enumerate(self.institutions):
            if one.bank_account and (payer := payers.get(one.bank_account.number)):
                remedy = f"institutions[{index}].bank_account.number: is {payer}'s number too; give each its own"
                raise _refuse("institutions.bank_account", remedy)

    @cached_property
    def party_by_code(self) -> dict[str, Party]:
        return {party.code: party for party in self.parties}

    @cached_property
    def institution_by_code(self) -> dict[str, Institution]:
        return {institution.code: institution for institution in self.institutions}

    @cached_property
    def staging_by_code(self) -> dict[str, StagingTable]:
        """Whose tables are polled, and how."""
        everybody: list[Institution | Party] = [*self.institutions, *self.parties]
        return {one.code: one.staging for one in everybody if one.staging is not None}

    def link_of(self, code: str) -> str:
        """The link of an institution or a party; empty for nobody."""
        known = self.institution_by_code.get(code) or self.party_by_code.get(code)
        return known.link if known is not None else ""

    def schemes_of(self, code: str) -> tuple[Scheme, ...]:
        """How a party's books are compared: as declared, else in the usual way; none for nobody."""
        declared = tuple(scheme for scheme in self.reconciliation if scheme.party == code)
        known = code in self.party_by_code or code in self.institution_by_code
        return declared or ((Scheme(party=code),) if known else ())

    @cached_property
    def product_by_code(self) -> dict[str, HostedProduct]:
        return {product.code: product for product in self.products}

    @cached_property
    def rules_in_order(self) -> tuple[Rule, ...]:
        return tuple(sorted(self.rules, key=lambda rule: (rule.layer.rank, rule.order, rule.id)))

    @cached_property
    def rule_by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.rules}


def _unique(what: str, codes: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, code in enumerate(codes):
        if code in seen:
            raise _refuse(f"{what}.code", f"{what}[{index}]: {code} occurs twice")
        seen.add(code)
