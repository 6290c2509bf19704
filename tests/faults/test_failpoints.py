"""A process dies, raises or stands still at every named boundary there is; hub, payers and hospitals agree afterwards.

In each round every role is armed with one of its points, bills are settled, repeated and cancelled over both channels,
and what died is started again. A point that is in no matrix fails a test, so that none can be forgotten.
"""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

import hub
from hub import failpoints
from hub.routes import leg_command
from tests.support.builders import BASIC, REGION
from tests.support.eventually import eventually
from tests.support.hub_in_process import a_hub
from tests.support.hub_processes import WITH_HTTP, World, world
from tests.support.mixed_traffic import MixedTraffic, mixed_traffic
from tests.support.servers import PostgresServer, RabbitServer, fresh_database, fresh_vhost

SEED = 20261121
DAY = 80
BILLS = 5
"""On each channel, in each round."""
HANG_S = 1
TIMES_SOAK = 5
PASSED_WITHIN_S, TRIES_MAX = 15.0, 4

UNIT = ("before_commit", "after_commit", "after_publish")
LINE = ("publish.before_send", "publish.after_send", "confirm.before_note")
CONSUMER = ("delivery.before_handling", "ack.before_send", "ack.after_send")


def unit(name: str, *steps: str) -> tuple[str, ...]:
    """The points of one unit of work."""
    return tuple(f"{name}.{step}" for step in steps or UNIT)


MATRIX: dict[str, tuple[str, ...]] = {
    "gateway": (
        "request.before_intake",
        *unit("intake"),
        "request.after_intake",
        *unit("undo"),
        *LINE,
        "answer.before_send",
        "confirmed.before_commit",
    ),
    "engine": (*unit("intake"), *unit("undo"), *unit("reply"), *unit("apply"), *LINE, *CONSUMER),
    "adapters": (
        *unit("claim"),
        "call.before_send",
        "call.after_answer",
        *unit("apply"),
        *LINE,
        *CONSUMER,
    ),
    "relay": (
        *unit("sweep"),
        "outbox_sweep.before_publish",
        "bury.before_commit",
        "bury.after_commit",
        *LINE,
        *CONSUMER,
    ),
}
"""Which role passes which points. A role may pass more: what it shares with another role is the same code."""
OPERATORS = (
    *unit("action"),
    *unit("approve"),
    *unit("reject"),
    *unit("dlq"),
    *unit("disclosure"),
    *unit("party"),
    *unit("dry_run"),
    *unit("recon_ask"),
    *unit("statement"),
)
"""Passed by an operator's command, a statement or the hourly pass; each is one unit of work, whole or not at all."""
BY_HAND = (
    *unit("visit"),
    *unit("clearing"),
    *unit("notice"),
    *unit("nonce"),
    "staging.after_claim",
    "staging.after_take",
    "staging.after_answer",
)
"""Passed one at a time, in one process: `tests/integration/test_visit_failpoints.py`, `test_staging.py`; of a nonce
only that it is there or not matters."""
NOBODYS_CASE = "00000000-0000-7000-8000-000000000000"


RARE = re.compile(r".*\.after_publish|apply\..*|bury\..*")
"""Passed by few messages: with answers by queue, with something to send on, with a letter that has died."""


def passing(point: str, random: Random) -> int:
    """At which passing a point strikes. Not always the first, or nothing would ever get further than to the first one;
    but whoever waits for the third passing of what is rare waits longer than for all others together."""
    return 1 if RARE.fullmatch(point) else random.randint(1, 3)


def all_points() -> set[str]:
    """Every point of the source: named outright, or by the unit of work that it belongs to."""
    points: set[str] = set()
    for path in Path(hub.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        points.update(re.findall(r'failpoint\("([a-z_.]+)"\)', source))
        points.update(
            f"{name}.{step}" for name in re.findall(r'work_units\.begin\("([a-z_]+)"\)', source) for step in UNIT
        )
    return points


def test_every_failpoint_is_in_the_matrix() -> None:
    in_matrix = {point for points in MATRIX.values() for point in points} | {*OPERATORS, *BY_HAND}

    assert all_points() == in_matrix


@pytest.mark.parametrize(("step", "rows"), [("before_commit", 0), ("after_commit", 1), ("after_publish", 1)])
@pytest.mark.parametrize("name", ["nonce", *(point.removesuffix(".before_commit") for point in OPERATORS[::3])])
def test_an_operators_step_that_fails_is_whole_or_not_at_all(
    database_url: str, name: str, step: str, rows: int
) -> None:
    with a_hub(database_url, running=False) as found:
        failpoints.arm(f"{name}.{step}=raise")
        try:
            with pytest.raises(failpoints.FailpointReached), found.hub.work_units.begin(name) as work:
                work.send(leg_command(NOBODYS_CASE, 1, BASIC, REGION))
        finally:
            failpoints.arm("")

        assert found.count("outbox") == rows


@contextmanager
def a_town(
    postgres: PostgresServer, rabbitmq: RabbitServer, template: str, folder: Path, seed: int
) -> Iterator[MixedTraffic]:
    with (
        fresh_database(postgres, template=template) as database_url,
        fresh_vhost(rabbitmq) as broker_url,
        world(database_url, broker_url, folder, DAY, seed=seed, payer_timeout_s=1.0) as found,
    ):
        for role in WITH_HTTP:
            found.hub.start(role)
        with mixed_traffic(found, broker_url, folder, seed) as traffic:
            yield traffic


@pytest.fixture(scope="module")
def town(
    postgres_server: PostgresServer,
    rabbitmq_server: RabbitServer,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MixedTraffic]:
    folder = tmp_path_factory.mktemp("failpoints")
    with a_town(postgres_server, rabbitmq_server, database_template, folder, SEED) as traffic:
        yield traffic


def assert_all_agree(town: MixedTraffic, causes: Iterable[str] = ()) -> None:
    """Nothing lost, doubled or wrong; nothing set aside but the nonsense, and what may be for these causes."""
    # A command that died is taken up by the sweep, which looks again every half minute.
    tally = town.settle_down(within_s=180)
    print(f"seed {SEED}", *tally.lines(), sep="; ")
    assert tally.is_clean
    assert tally.doubts_open == 0
    with town.world.engine.connect() as connection:
        found = Counter(connection.execute(text("SELECT cause FROM dead_letter")).scalars())
    assert found.pop("message.unroutable", 0) == town.junk_sent
    assert found.keys() <= set(causes), found


class Executioner:
    """Starts one role again and again, each time to be killed at another point, until all of them were passed."""

    def __init__(self, world: World, role: str, random: Random) -> None:
        self._world = world
        self.role = role
        self._random = random
        self._left = random.sample(MATRIX[role], len(MATRIX[role]))
        self._tries = Counter[str]()
        self.missed: list[str] = []
        self.kills = 0
        self._thread = threading.Thread(target=self._run, name=f"executioner-{role}")

    def start(self) -> None:
        self._thread.start()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)

    @property
    def is_busy(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        hub = self._world.hub
        while self._left:
            point = self._left.pop(0)
            hub.kill(self.role)
            victim = hub.start(self.role, failpoints=f"{point}=kill@{passing(point, self._random)}")
            victim.join(PASSED_WITHIN_S)
            if victim.exitcode == -signal.SIGKILL:
                self.kills += 1
            elif self._tries[point] < TRIES_MAX:
                self._tries[point] += 1
                self._left.append(point)
            else:
                self.missed.append(point)
        hub.kill(self.role)
        hub.start(self.role)


def kill_everywhere(town: MixedTraffic, random: Random) -> None:
    """A kill at every point of every role while bills are settled, repeated and cancelled."""
    executioners = [Executioner(town.world, role, Random(random.random())) for role in MATRIX]
    with town.flowing(BILLS):
        for one in executioners:
            one.start()
        while any(one.is_busy for one in executioners):
            town.send_junk()
            for one in executioners:
                one.join(1.0)
    print(f"{sum(one.kills for one in executioners)} kills")
    assert {one.role: one.missed for one in executioners if one.missed} == {}


# What the relay is there for: rows that were committed and not published, commands that nobody holds any more.
CRASHES = {"engine": "intake.after_commit=kill@1", "adapters": "claim.after_commit=kill@2"}


def keep_crashing(world: World) -> None:
    """See that a second process of these roles is about to die."""
    for role, crash in CRASHES.items():
        name = f"{role}-2"
        if name not in world.hub.running or not world.hub.running[name].is_alive():
            world.hub.start(role, name=name, failpoints=crash)


def stop_crashing(world: World) -> None:
    """What they take and drop the others would have to wait for."""
    for role in CRASHES:
        if f"{role}-2" in world.hub.running:
            world.hub.kill(f"{role}-2")


def break_everywhere(town: MixedTraffic, action: str, random: Random) -> None:
    """Every role with all of its points armed at once, each at a passing of its own, until all of them were reached."""
    hub = town.world.hub
    before = Counter(hub.reached())
    wanted = {(role, point) for role, points in MATRIX.items() for point in points}
    for role, points in MATRIX.items():
        hub.kill(role)
        hub.start(role, failpoints=",".join(f"{point}={action}@{passing(point, random)}" for point in points))

    def all_reached() -> bool:
        town.send_junk()
        left = wanted - (Counter(hub.reached()) - before).keys()
        if any(role == "relay" for role, _ in left):
            keep_crashing(town.world)
        else:
            stop_crashing(town.world)
        assert not left, left
        return True

    with town.flowing(BILLS):
        eventually(all_reached, within_s=300)


@pytest.mark.timeout(600)
def test_a_kill_at_every_point_loses_and_doubles_nothing(town: MixedTraffic) -> None:
    kill_everywhere(town, Random(SEED))

    # Whoever kills a process at each point in turn kills it at the same message, too.
    # Killed with a message in hand at its last delivery, the hub leaves it to the broker to set it aside.
    assert_all_agree(town, ["delivery.limit", "broker.delivery_limit"])


@pytest.mark.timeout(600)
def test_an_error_at_every_point_loses_and_doubles_nothing(town: MixedTraffic) -> None:
    break_everywhere(town, "raise", Random(SEED + 1))

    # To the hub such an error is a bug of its own: it sets the message aside for people, and the hospital asks again.
    assert_all_agree(town, ["delivery.limit", "broker.delivery_limit", "hub.bug", "leg.answer_not_applied"])


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_standing_still_at_every_point_loses_and_doubles_nothing(town: MixedTraffic) -> None:
    break_everywhere(town, f"hang:{HANG_S}", Random(SEED + 2))

    assert_all_agree(town, ["delivery.limit", "broker.delivery_limit", "hub.bug", "leg.answer_not_applied"])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("time", range(TIMES_SOAK))
def test_everything_everywhere_again(town: MixedTraffic, time: int) -> None:
    random = Random(SEED + 100 + time)

    kill_everywhere(town, random)
    break_everywhere(town, "raise", random)
    break_everywhere(town, "hang:30" if time == 0 else f"hang:{HANG_S}", random)

    assert_all_agree(town, ["delivery.limit", "broker.delivery_limit", "hub.bug", "leg.answer_not_applied"])
