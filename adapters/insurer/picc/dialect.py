"""The switches of one deployment: what the rule book's `options` say about a system of this type."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.payer import PartySettings

RESULT, FEES, CANCEL, INSTITUTIONS, PERSONS = "H210", "H213", "H214", "H301", "H304"
ROOTS = {
    RESULT: "UploadMedResult_Request",
    FEES: "UploadFeeDetail_Request",
    CANCEL: "CancelUploadMedResult_Request",
    INSTITUTIONS: "HospitalInformationUpload_Request",
    PERSONS: "StaffUpload_Request",
}
OPERATION, ARGUMENT = "transBusinessForPICC", "XMLString"
NAMESPACE = "urn:settlement-hub:picc-type:v1"
_TEXTS = ("namespace", "version", "sender_name", "receiver_code", "receiver_name", "insurance_kind")


@dataclass(frozen=True, slots=True)
class Dialect:
    """See README.md for what each switch does."""

    party: str
    region: str = ""
    fees: str = "with_result"
    fee_lines_max: int = 100
    reupload: str = "1"
    namespace: str = NAMESPACE
    version: str = "V1.0.5"
    sender_name: str = ""
    receiver_code: str = ""
    receiver_name: str = ""
    insurance_kind: str = ""


def dialect_of(settings: PartySettings) -> Dialect:
    """The dialect that a party's options describe; ValueError naming party and option otherwise."""
    options = dict(settings.options)
    fees = _choice(settings, "fees", options.pop("fees", "with_result"), ("with_result", "by_notice"))
    reupload = _choice(settings, "reupload", options.pop("reupload", "1"), ("0", "1", ""))
    lines = options.pop("fee_lines_max", "100")
    if not (lines.isascii() and lines.isdigit() and 1 <= int(lines) <= 1000):
        raise ValueError(f"party {settings.code}: option fee_lines_max must be a number from 1 to 1000")
    texts = {name: options.pop(name) for name in _TEXTS if name in options}
    if options:
        raise ValueError(f"party {settings.code}: unknown option {min(options)}; the adapter's README names them all")
    return Dialect(settings.code, settings.region, fees, int(lines), reupload, **texts)


def _choice(settings: PartySettings, name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"party {settings.code}: option {name} must be one of {', '.join(filter(None, known))}")
    return value
