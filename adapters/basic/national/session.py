"""What lasts longer than a call: the sign-in of an institution's operator, and the bearer token."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlencode

from adapters.basic.national.region import Region
from adapters.http_pool import HttpPool
from schemas.errors import Malformed, OutcomeUnknown, Unavailable
from schemas.payer import PartySettings, PreparedCall
from schemas.strict_json import check_text

RENEW_BEFORE_S = 180.0
TOKEN_S = 600.0
FORM = "application/x-www-form-urlencoded"


class SignIns:
    """The current sign_no of each (institution, operator), forgotten a little before the region's policy ends it."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime_s, self._clock = lifetime_s, clock
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        """Held while signing in: a region may end a sign-in when another one begins."""
        self._known: dict[str, tuple[str, float]] = {}

    def current(self, institution: str) -> str:
        """The sign_no to send; "" when it is time to sign in."""
        with self._lock:
            number, until = self._known.get(institution, ("", 0.0))
        return number if self._clock() < until else ""

    def keep(self, institution: str, sign_no: str) -> None:
        """Remember a fresh one."""
        with self._lock:
            self._known[institution] = sign_no, self._clock() + 0.9 * self._lifetime_s

    def forget(self, institution: str, sign_no: str) -> None:
        """The region says that this one is not valid; one that came meanwhile stays."""
        with self._lock:
            if self._known.get(institution, ("", 0.0))[0] == sign_no:
                self._known.pop(institution, None)


class Token:
    """A bearer token, fetched when there is none, renewed before it ends."""

    def __init__(
        self, settings: PartySettings, region: Region, http: HttpPool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = region.texts["token_path"]
        self._wish = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": settings.secrets.get("client_id", ""),
                "client_secret": settings.secrets.get("client_secret", ""),
            }
        ).encode()
        self._http, self._clock = http, clock
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The last token that was fetched; signing itself calls nobody."""
        return self._token

    def refresh(self, timeout_s: float) -> None:
        """See that there is one; Unavailable when none can be had: nothing of the business has been said yet."""
        with self._lock:
            if self._token and self._clock() < self._until:
                return
            call = PreparedCall(self._wish, FORM, self._path)
            try:
                answer = self._http.send(call, {"Content-Type": FORM, "Accept": "application/json"}, timeout_s)
                told = check_text(answer.body)
                token, lasts_s = told["access_token"], float(told.get("expires_in", TOKEN_S))
            except (OutcomeUnknown, Malformed, KeyError, TypeError, ValueError, AttributeError):
                raise Unavailable("no token", code="national.token") from None
            if answer.status != 200 or not isinstance(token, str) or not token.isascii() or not token.isprintable():
                raise Unavailable("no token", code="national.token")
            self._token, self._until = token, self._clock() + max(1.0, lasts_s - min(RENEW_BEFORE_S, lasts_s / 2))

    def forget(self, token: str) -> None:
        """The region says that this one is expired."""
        with self._lock:
            if self._token == token:
                self._until = 0.0
