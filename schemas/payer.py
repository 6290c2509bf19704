"""What the hub asks a payer, what a payer answers, and the canonical wire messages of insurers (REST and queue).

`PayerTask` and `Decision` are the values between the engine and every adapter. `ClaimTask` and `ClaimDecision` are the
wire form for insurers that speak the hub's own language; other dialects translate in their codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, StringConstraints

from schemas.base import Identifier, Moment, Value
from schemas.codes import Layer, Outcome
from schemas.money import Money
from schemas.settlement import Diagnosis, FeeLine, Insurance, Patient, SettlementRequest, Visit
from schemas.visit import AdmissionFacts

PayerText = Annotated[str, StringConstraints(max_length=1000)]


class Operation(StrEnum):
    """What is asked of a payer."""

    SETTLE = "settle"
    TRIAL = "trial"
    CANCEL = "cancel"
    """Undo what the payer is known to have settled (撤销): its reference and amount are named."""
    REVERSE = "reverse"
    """Undo a request whose outcome is not known (冲正), named by its request id; one never heard of is blocked."""
    INQUIRE = "inquire"
    """What became of a request; has no effect."""


@dataclass(frozen=True, slots=True)
class EarlierShare:
    """What a payer before this one bears, whole fen."""

    payer: str
    layer: Layer
    amount_fen: int


@dataclass(frozen=True, slots=True)
class BasicResult:
    """The basic system's adjudication, whole fen, by the names of the national interface in the comments."""

    total_fen: int  # medfee_sumamt
    own_pay_fen: int  # fulamt_ownpay_amt
    over_limit_fen: int  # overlmt_selfpay
    first_self_pay_fen: int  # preselfpay_amt
    in_scope_fen: int  # inscp_scp_amt
    deductible_fen: int  # act_pay_dedc
    fund_fen: int  # fund_pay_sumamt
    account_fen: int  # acct_pay
    cash_fen: int  # psn_cash_pay
    hospital_fen: int  # hosp_part_amt
    funds: tuple[tuple[str, int], ...] = ()  # setldetail: (fund_pay_type, fund_payamt)


@dataclass(frozen=True, slots=True)
class MessageNumbers:
    """A block of durable message numbers, the same in every repeat of the request that it was drawn for.

    `first` counts on for ever within (payer, institution); a dialect with few digits takes it modulo its range and
    makes it unique together with `at`.
    """

    at: datetime
    first: int


@dataclass(frozen=True, slots=True)
class PayerTask:
    """One request to one payer. `request_id` is ours, fixed before a byte leaves, the same in every repeat."""

    operation: Operation
    request_id: str
    case_id: str
    leg_no: int
    payer: str
    layer: Layer
    product: str
    policy_no: str | None
    request: SettlementRequest
    left_fen: int
    """What is left of the bill for this payer: the most that it may pay."""
    basic: BasicResult | None = None
    earlier: tuple[EarlierShare, ...] = ()
    answer_by: datetime | None = None
    original_request_id: str | None = None
    """Of a cancel, reversal or inquiry: the request that it is about."""
    original_reference: str | None = None
    """Of a cancel: the payer's own number for what it settled."""
    original_amount_fen: int = 0
    numbers: MessageNumbers | None = None
    """For dialects that declare `Capabilities.numbers`."""
    original_numbers: MessageNumbers | None = None
    """Those of `original_request_id`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a payer is told outside a settlement: a registration, fee lines, a discharge, a recorded adjudication.

    Saying it again under the same `request_id` must be harmless.
    """

    transaction: str
    """The canonical transaction, such as admission.register."""
    request_id: str
    payer: str
    message: Value
    """The canonical message (`schemas.visit`, `schemas.master`; of a recorded adjudication a `SettleRequest`)."""
    product: str = ""
    policy_no: str | None = None
    original_request_id: str | None = None
    """Of an undo: the notice that it takes back."""
    original_reference: str | None = None
    """Of an undo: what the payer answered to that notice."""
    numbers: MessageNumbers | None = None
    admission: AdmissionFacts | None = None
    """Of a notice about a visit: its registration as it stands, for dialects that name the person in every message."""
    admission_reference: str | None = None
    """What the payer answered to that registration."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A payer's answer, normalised. `raw_code` keeps the payer's own word beside ours."""

    outcome: Outcome
    amount_fen: int = 0
    payer_reference: str | None = None
    reason_code: str = ""
    reason_zh: str = ""
    reason_en: str = ""
    decided_at: datetime | None = None
    raw_code: str = ""
    basic: BasicResult | None = None
    before_effect: bool = False
    """A conversation ended before the message that settles: a refusal that says nothing of an earlier attempt."""


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """Bytes that are committed as evidence before they leave."""

    body: bytes
    content_type: str
    path: str = ""
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """Bytes that came back, kept as evidence beside their decoding."""

    body: bytes
    status: int = 0
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a payer's interface can be trusted with."""

    idempotent_submit: bool = False
    """Repeating a submit under the same request id gives the first answer and no second effect."""
    inquiry: bool = False
    """It can be asked what became of a request (`Operation.INQUIRE`)."""
    reversal: bool = False
    """It undoes a request by our request id alone, and refuses that request if it comes later."""
    cancel: bool = True
    """It undoes what it settled."""
    trial: bool = True
    by_queue: bool = False
    """Tasks go to the party's queue and the answer comes back as a message."""
    notices: frozenset[str] = frozenset()
    """The transactions that it can be told about outside a settlement (`Notice`)."""
    statements: bool = False
    """It can be asked for its books of a day (`schemas.statement_pages`)."""
    statements_compared: bool = False
    """What it is asked for is a comparison: it is told ours, one institution at a time, and answers what differs."""
    numbers: int = 0
    """How many durable message numbers one request takes; 0 for a dialect that needs none."""
    shared_numbers: bool = False
    """Its messages do not name the institution in their number: all institutions draw from one sequence."""
    needs: frozenset[str] = frozenset()
    """Fields that its messages cannot do without, by the names of the disclosure map."""

    def without(self, denied: Iterable[str]) -> Capabilities:
        """What is left when a party cannot be trusted with some of it."""
        lacking: dict[str, Any] = dict.fromkeys(denied, False)
        return replace(self, **lacking)


@dataclass(frozen=True, slots=True)
class PartySettings:
    """What an adapter needs to know of the party it speaks to."""

    code: str
    adapter: str
    endpoint: str = ""
    timeout_s: float = 5.0
    concurrency: int = 16
    region: str = ""
    ca_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Switches of the dialect, from the rule book: never a secret."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Keys and passwords by name, from the file that HUB_PARTY_SECRETS names."""


class BasicFacts(Value):
    """The basic adjudication as an insurer sees it."""

    in_scope: Money
    own_pay: Money
    over_limit: Money
    first_self_pay: Money
    deductible: Money
    fund_paid: Money
    account: Money
    cash: Money


class EarlierFacts(Value):
    """What a payer before bears."""

    payer: str
    layer: Layer
    amount: Money


class ClaimTask(Value):
    """Wire: what an insurer is asked. `left` is the most it may pay; `request_id` makes repeats harmless."""

    schema_version: Literal["1"] = "1"
    operation: Literal[Operation.SETTLE, Operation.TRIAL]
    request_id: Identifier
    case_id: Identifier
    insurer: str
    product: str
    policy_no: str | None = None
    layer: Layer
    region: str
    institution: str
    settlement_no: str
    patient: Patient
    insurance: Insurance
    visit: Visit
    diagnoses: tuple[Diagnosis, ...]
    fees: tuple[FeeLine, ...]
    total: Money
    basic: BasicFacts | None = None
    earlier: tuple[EarlierFacts, ...] = ()
    left: Money
    answer_by: AwareDatetime | None = None


class ClaimCancel(Value):
    """Wire: undo what `original_request_id` settled.

    A cancel names the insurer's own reference and the amount that was approved. A reversal names neither, since our
    side does not know what became of the original: whatever stands is undone and its amount told; an original that
    never came is answered `cancelled` with 0.00, and refused should it come later.
    """

    schema_version: Literal["1"] = "1"
    operation: Literal[Operation.CANCEL, Operation.REVERSE] = Operation.CANCEL
    request_id: Identifier
    case_id: Identifier
    insurer: str
    institution: str
    settlement_no: str
    original_request_id: Identifier
    original_reference: str | None = None
    amount: Money


class ClaimDecision(Value):
    """Wire: an insurer's answer to a ClaimTask or ClaimCancel, by REST body or as a message on `in.<insurer>`."""

    schema_version: Literal["1"] = "1"
    request_id: Identifier
    outcome: Literal["approved", "declined", "deferred", "cancelled"]
    amount: Money
    payer_reference: Identifier | None = None
    reason_code: Annotated[str, StringConstraints(max_length=50)] = ""
    reason_zh: PayerText = ""
    reason_en: PayerText = ""
    calculation: PayerText = ""
    decided_at: Moment

    def decision(self) -> Decision:
        """The normalised value; an approval or a cancellation without the payer's reference stays what it says."""
        return Decision(
            outcome=Outcome(self.outcome),
            amount_fen=self.amount,
            payer_reference=self.payer_reference,
            reason_code=self.reason_code,
            reason_zh=self.reason_zh,
            reason_en=self.reason_en,
            decided_at=self.decided_at,
            raw_code=self.outcome,
        )


class ClaimNotice(Value):
    """Wire: what an insurer is told outside a settlement. `message` is the canonical message of `transaction`; repeats
    come under the same `request_id` and must be harmless. An undo names the notice that it takes back."""

    schema_version: Literal["1"] = "1"
    request_id: Identifier
    transaction: Identifier
    insurer: str
    product: str = ""
    policy_no: str | None = None
    original_request_id: Identifier | None = None
    original_reference: str | None = None
    message: dict[str, Any]


class NoticeAnswer(Value):
    """Wire: an insurer's answer to a ClaimNotice. `reference` is what it calls the thing that it was told about."""

    schema_version: Literal["1"] = "1"
    request_id: Identifier
    outcome: Literal["taken", "refused"]
    reference: Identifier | None = None
    reason_code: Annotated[str, StringConstraints(max_length=50)] = ""
    reason_zh: PayerText = ""
    reason_en: PayerText = ""
