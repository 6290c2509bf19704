"""All series by name, in the order in which a round runs them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.hub_kinds import HubFull, HubStub
from bench.peers import CeleryPeer, FastStreamPeer, Floor
from bench.series import Series

SERIES: tuple[type[Series], ...] = (Floor, HubStub, HubFull, CeleryPeer, FastStreamPeer)
NAMES = tuple(series.name for series in SERIES)


def chosen(names: Sequence[str]) -> list[Series]:
    """One instance of each named series, in the order of a round; KeyError names what is unknown."""
    known = {series.name: series for series in SERIES}
    if unknown := [name for name in names if name not in known]:
        raise KeyError(", ".join(unknown))
    return [series() for name, series in known.items() if name in names]
