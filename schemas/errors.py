"""Errors by what we do about them: the class decides the reaction, the code and field tell people.

No error text may hold a patient's data or echo a received value; `context` holds identifiers and field names only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a message: where (`fees[2].amount`), which rule, and what to do about it."""

    field: str
    code: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "remedy": self.remedy}


class HubError(Exception):
    """Base of every error we raise on purpose; carries its facts as fields."""

    code = "hub.error"

    def __init__(self, message: str = "", /, *, code: str = "", **context: object) -> None:
        """`message` is ours, for the log; `code` says more than the class's own does."""
        self.message = message
        self.context = context
        if code:
            self.code = code
        facts = ", ".join(f"{key}={value}" for key, value in context.items())
        super().__init__(f"{message} ({facts})" if message and facts else message or facts)


class InvalidMessage(HubError):
    """Their bytes are wrong: answer with the reason or dead-letter, never retry."""

    code = "message.invalid"

    def __init__(self, message: str = "", /, *violations: Violation, code: str = "", **context: object) -> None:
        super().__init__(message, code=code, **context)
        self.violations = violations


class Malformed(InvalidMessage):
    """Not even readable: broken JSON or XML, forbidden constructs, too large (HTTP 400 or 413)."""

    code = "message.malformed"


class Conflict(HubError):
    """Contradicts what is stored: same key with other content, or a state that forbids it (HTTP 409)."""

    code = "case.conflict"


class NotFound(HubError):
    """No such object for this party (HTTP 404, also for another party's object)."""

    code = "case.not_found"


class Forbidden(HubError):
    """This party may not do this (HTTP 403)."""

    code = "party.forbidden"


class Unavailable(HubError):
    """Nothing was sent or stored: safe to retry."""

    code = "service.unavailable"


class OutcomeUnknown(HubError):
    """Sent, no usable answer: ask again under the same id, never resend under a new one."""

    code = "outcome.unknown"


class IllegalTransition(HubError):
    """Our own bug: dead-letter it and wake someone."""

    code = "hub.illegal_transition"
