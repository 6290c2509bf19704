"""The adapters by the name that a party's settings give: one line each."""

from __future__ import annotations

from typing import ClassVar, Protocol

from adapters.basic.national.client import BasicNational
from adapters.basic.soap.client import BasicSoap, BasicSoap12
from adapters.insurer.chinalife.client import ChinaLifeType
from adapters.insurer.hosted.client import InsurerHosted
from adapters.insurer.picc.client import PiccType
from adapters.insurer.queue.adapter import InsurerQueue
from adapters.insurer.rest.client import InsurerRest
from adapters.insurer.taikang.client import Taikang, TaikangRepeats
from schemas.payer import Capabilities, Decision, PartySettings, PayerTask, PreparedCall, RawAnswer


class Adapter(Protocol):
    """What every adapter can do; the hub says what it expects of each method."""

    capabilities: ClassVar[Capabilities]

    def __init__(self, settings: PartySettings) -> None: ...

    def prepare(self, task: PayerTask) -> PreparedCall: ...

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer: ...

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision: ...

    def close(self) -> None: ...


HOSTED = "insurer.hosted"
"""The one adapter that the hub builds itself, since the insurer's book is the hub's own."""
ADAPTERS: dict[str, type[Adapter]] = {
    "basic.national": BasicNational,
    "basic.soap": BasicSoap,
    "basic.soap12": BasicSoap12,
    "insurer.rest": InsurerRest,
    "insurer.queue": InsurerQueue,
    "insurer.taikang": Taikang,
    "insurer.taikang.repeats": TaikangRepeats,
    "insurer.chinalife": ChinaLifeType,
    "insurer.picc": PiccType,
    HOSTED: InsurerHosted,
}


def make_adapter(settings: PartySettings) -> Adapter:
    """The adapter for a party; ValueError naming party and adapter when settings cannot work."""
    factory = ADAPTERS.get(settings.adapter)
    if factory is None:
        known = ", ".join(sorted(ADAPTERS))
        raise ValueError(f"party {settings.code}: no adapter named {settings.adapter}; there are {known}")
    return factory(settings)


def consumes_from_queue(adapter: str) -> bool:
    """Whether parties of this adapter take their tasks from a queue of their own; no for a name nobody knows."""
    known = ADAPTERS.get(adapter)
    return known is not None and known.capabilities.by_queue
