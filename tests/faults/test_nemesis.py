"""A short round of random faults under traffic; `make soak` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nemesis import a_world_to_break, report, torment
from tests.support.servers import PostgresServer, RabbitServer

SEED = 20261126
ROUND_S = 25.0


@pytest.mark.timeout(600)
def test_random_faults_lose_double_and_guess_nothing(
    breakable_postgres: PostgresServer, breakable_rabbitmq: RabbitServer, breakable_template: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    with a_world_to_break(breakable_postgres, breakable_rabbitmq, breakable_template, tmp_path, SEED) as found:
        traffic, nemesis = found
        tally = torment(traffic, nemesis, ROUND_S)
        report(nemesis, tally)

    assert tally.is_clean, tally.lines()
    assert tally.doubts_open == 0
