"""What one answer says about going on: taken, refused with a word that is documented, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from adapters.conversation import Said
from adapters.insurer.taikang.dialect import OK_CODES, Dialect
from adapters.insurer.taikang.messages import CANCEL, FEES, IDENTITY, SETTLE, TAKE_BACK, TRIAL
from adapters.insurer.taikang.package import Package, read_package, sent_trade_no, text_in
from schemas.errors import HubError, Malformed, OutcomeUnknown

NO_POLICY = "no_policy"
JSON = "application/json"


class Verdict(Enum):
    """How a call ended."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNCLEAR = "unclear"


def package_of(call: Said, party: str) -> Package:
    """The package of an answer; Malformed when it is none, OutcomeUnknown when it answers another call."""
    if call.content_type != JSON:
        raise Malformed("an answer that cannot be decrypted", code="answer.encryption", party=party)
    package = read_package(call.answer)
    if package.trade_no != sent_trade_no(call.sent):
        raise OutcomeUnknown("not an answer to this call", code="answer.foreign", party=party)
    return package


def verdict_on(call: Said, dialect: Dialect) -> Verdict:
    """Never raises."""
    try:
        package = package_of(call, dialect.party)
    except HubError:
        return Verdict.UNCLEAR
    if call.status != 200:
        return Verdict.UNCLEAR
    if package.error_code in dialect.refused_codes:
        return Verdict.REFUSED
    if package.error_code not in OK_CODES:
        return Verdict.UNCLEAR
    if call.name == IDENTITY and not is_insured(package, dialect):
        return Verdict.REFUSED
    return Verdict.TAKEN


def is_insured(package: Package, dialect: Dialect) -> bool:
    """Whether S200 found a valid customer of this insurer."""
    offers = package.body.get("commercialInsuranceList")
    found: Sequence[Any] = offers if isinstance(offers, list) else ()
    return any(_is_ours(offer, dialect) for offer in found if isinstance(offer, dict))


def _is_ours(offer: Mapping[str, Any], dialect: Dialect) -> bool:
    insurer = text_in(offer, "professionalCode")
    return text_in(offer, "identifyCustomers") == "1" and (not dialect.insurer_code or insurer == dialect.insurer_code)


def is_immediate(package: Package) -> bool:
    """Whether a settle answer pays now: neither deferred nor excluded."""
    return not text_in(package.body, "nonImmediateReason") and text_in(package.body, "waiverSign") != "1"


def applies(name: str, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether a step is to be said after those: any other than TAKEN ends the script, but for taking lines back."""
    if name == TAKE_BACK:
        return Verdict.REFUSED in verdicts.values() and FEES in verdicts and verdicts.keys().isdisjoint(_EFFECTS)
    return all(verdict is Verdict.TAKEN for verdict in verdicts.values())


_EFFECTS = (SETTLE, TRIAL, CANCEL)
