"""The parties' doors as a process knows them: read from the database every second, so that no request waits for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sqlalchemy import Engine

from store import parties
from store.parties import Access


class KnownDoors:
    """One call reads all doors anew. While the database is away, what was read last stays in force.

    Several threads may call: what one has read is never replaced by what another read before it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: Mapping[str, Access] = {}
        self._one_at_a_time = threading.Lock()

    def __call__(self) -> int:
        with self._one_at_a_time, self._engine.connect() as connection:
            self._known = {one.party: one for one in parties.everybody(connection)}
        return 0

    def generation_of(self, party: str) -> int:
        """Which generation of its tokens is good."""
        known = self._known.get(party)
        return known.token_generation if known else 0

    def is_shut(self, party: str) -> bool:
        """Whether the party may not come in at all."""
        known = self._known.get(party)
        return known is not None and not known.enabled
