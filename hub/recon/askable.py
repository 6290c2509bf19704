"""Payers with their adapters, for a process that has none: opened when one is asked, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.insurer.hosted.client import InsurerHosted
from adapters.registry import HOSTED, make_adapter
from hub.books import RuleBooks
from hub.bootstrap import person_secret
from hub.calls import Payer
from hub.gate import Gate
from hub.hosted import HostedProducts
from hub.party_secrets import read_secrets
from hub.ports import Clock, PayerAdapter
from hub.settings import Settings
from routing.rulebook import Party
from store.database import open_engine

POOL_SIZE = 2


@contextmanager
def payers_of(settings: Settings, url: str, books: RuleBooks, clock: Clock) -> Iterator[Callable[[str], Payer]]:
    """The payer of a code, as the rule book in force has it; KeyError for nobody."""
    secrets, opened = read_secrets(settings.party_secrets), dict[str, Payer]()

    def adapter_of(party: Party) -> PayerAdapter:
        told = party.settings(secrets.get(party.code, {}))
        if party.adapter != HOSTED:
            return make_adapter(told)
        own = HostedProducts(
            lambda: open_engine(url, pool_size=POOL_SIZE, application="hub-recon-hosted"),
            books.active,
            person_secret(settings),
            clock,
        )
        return InsurerHosted(told, own)

    def payer_of(code: str) -> Payer:
        if code not in opened:
            party = books.active().book.party_by_code[code]
            adapter = adapter_of(party)
            opened[code] = Payer(party, adapter, Gate(party, by_queue=adapter.capabilities.by_queue))
        return opened[code]

    try:
        yield payer_of
    finally:
        for payer in opened.values():
            payer.adapter.close()
