"""The switches of one deployment: what the rule book's `options` say about a system of this type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.payer import PartySettings

PERSONS, REGISTRATION, FEES = "100005", "100007", "100020"
COMPENSATION, CANCEL, QUERY, ONE_SHOT = "100013", "100014", "100015", "100018"
SUB_CODES: Final = {
    PERSONS: "00",
    REGISTRATION: "00",
    FEES: "00",
    COMPENSATION: "02",
    CANCEL: "02",
    QUERY: "00",
    ONE_SHOT: "02",
}
NAMED_OPERATIONS: Final = {
    PERSONS: "personUploadService",
    REGISTRATION: "hosRegInfoService",
    FEES: "feeUploadService",
    COMPENSATION: "compensationInfoService",
    ONE_SHOT: "feeCountService",
    CANCEL: "feeBackService",
    QUERY: "feeQueryService",
}
NAMESPACE = "urn:settlement-hub:critical-illness:v1"
FLOWS = ("one_shot", "stepwise", "after_notices")


@dataclass(frozen=True, slots=True)
class Dialect:
    """See README.md for what each switch does."""

    party: str
    region: str = ""
    named: bool = False
    namespace: str = NAMESPACE
    flow: str = "one_shot"
    fee_lines_max: int = 100
    version: str = "2.4.2"
    system_code: str = ""
    operator: str = ""
    not_found: tuple[str, ...] = ()
    already_there: tuple[str, ...] = ()

    def operation(self, bus_code: str) -> tuple[str, str]:
        """The SOAP operation of a transaction and the name of its one argument."""
        return (NAMED_OPERATIONS[bus_code], "xml") if self.named else ("excute", "root")


def dialect_of(settings: PartySettings) -> Dialect:
    """The dialect that a party's options describe; ValueError naming party and option otherwise."""
    options = dict(settings.options)
    taken = {
        "named": _choice(settings, options.pop("operations", "excute"), "operations", ("excute", "named")) == "named",
        "flow": _choice(settings, options.pop("flow", "one_shot"), "flow", FLOWS),
        "fee_lines_max": _count(settings, options.pop("fee_lines_max", "100")),
        "not_found": _words(options.pop("not_found", "")),
        "already_there": _words(options.pop("already_there", "")),
    }
    texts = {name: options.pop(name) for name in ("namespace", "version", "system_code", "operator") if name in options}
    if options:
        raise ValueError(f"party {settings.code}: unknown option {min(options)}; the adapter's README names them all")
    return Dialect(settings.code, settings.region, **taken, **texts)  # type: ignore[arg-type]


def _choice(settings: PartySettings, value: str, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"party {settings.code}: option {name} must be one of {', '.join(known)}")
    return value


def _count(settings: PartySettings, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 1000):
        raise ValueError(f"party {settings.code}: option fee_lines_max must be a number from 1 to 1000")
    return int(value)


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split("|") if word.strip())
