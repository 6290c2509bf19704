"""The adapters by the name that a party's settings give: one line each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from adapters.basic.soap.client import BasicSoap
from adapters.insurer.queue.adapter import InsurerQueue
from adapters.insurer.rest.client import InsurerRest
from schemas.payer import Capabilities, Decision, PartySettings, PayerTask, PreparedCall, RawAnswer


class Adapter(Protocol):
    """What every adapter can do; the hub says what it expects of each method."""

    @property
    def capabilities(self) -> Capabilities: ...

    def prepare(self, task: PayerTask) -> PreparedCall: ...

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer: ...

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision: ...

    def close(self) -> None: ...


ADAPTERS: dict[str, Callable[[PartySettings], Adapter]] = {
    "basic.soap": partial(BasicSoap, version="1.1"),
    "basic.soap12": partial(BasicSoap, version="1.2"),
    "insurer.rest": InsurerRest,
    "insurer.queue": InsurerQueue,
}


def make_adapter(settings: PartySettings) -> Adapter:
    """The adapter for a party; ValueError naming party and adapter when settings cannot work."""
    factory = ADAPTERS.get(settings.adapter)
    if factory is None:
        known = ", ".join(sorted(ADAPTERS))
        raise ValueError(f"party {settings.code}: no adapter named {settings.adapter}; there are {known}")
    return factory(settings)
