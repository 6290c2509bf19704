"""Several days from their bills to their seals, and the month that pays them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path

from sqlalchemy import Engine

from hub.demo import days_clock, mixed
from hub.demo.days_clock import DemoClock
from hub.demo.days_life import LivedDay, Living, last_days, midnight_after, plan
from hub.demo.mixed import CONCURRENCY, Traffic
from hub.demo.mixed_ways import Senders
from hub.demo.run import demo_database, demo_folder, tell_where_the_logs_are
from hub.demo.samples import yesterday
from hub.demo.screen import Screen
from hub.demo.stage import Stage, sandbox_addresses, staged, start_hub, start_sandbox
from routing.days import CHINA_STANDARD_TIME
from sandbox.his_book import HospitalBook

OFFICE_OPENS = time(9, 30)
"""When a day's statements have come and its books are closed: the next morning."""


@dataclass(frozen=True, slots=True)
class DaysOptions:
    """What is asked for: so many days of so many bills; with `faults` some of everything goes wrong on purpose."""

    days: int = 3
    cases: int = 60
    seed: int = 20
    faults: bool = False
    keep: Path | None = None


@dataclass(slots=True)
class World:
    """What runs and what is known while the days go by."""

    stage: Stage
    engine: Engine
    clock: DemoClock
    control: dict[str, str]
    book: HospitalBook
    living: Living
    traffic: Traffic
    screen: Screen
    faults: bool

    def wake(self, moment: datetime) -> None:
        """Let it be `moment`, and the hub at work and aware of it."""
        if "hub" not in self.stage.processes:
            self.clock.set(moment)
            start_hub(self.stage)
            return
        said = self._said()
        self.clock.set(moment)
        self.stage.wait("hub", lambda: self._said() > said)

    def _said(self) -> int:
        """How often the hub has noticed that the clock jumped: it looks every few seconds."""
        return self.stage.log("hub").read_bytes().count(b'"clock_jumped"')


def morning_after(day: LivedDay) -> datetime:
    """When a day is closed."""
    return datetime.combine(day.day + timedelta(days=1), OFFICE_OPENS, CHINA_STANDARD_TIME)
