"""What each dialect costs over canonical REST: `python -m bench.dialect_codecs` prints a table, on this machine.

CPU of one thread for one settle, best of several rounds: writing the request (of a conversation, all its calls) and
reading the recorded answer. The recorded bills have a few lines; `--lines` makes them longer where the adapter allows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from adapters.registry import make_adapter
from schemas.payer import PayerTask
from tests.support.samples import ADAPTERS, read_answer, read_settings

SAMPLE = "samples/settle_approved.expected.json"
BASELINE = ADAPTERS / "insurer/rest" / SAMPLE
ROUNDS, ROUND_S = 5, 0.2


def longer(task: PayerTask, lines: int) -> PayerTask:
    """The same task with so many copies of its first fee line; the sums of the basic adjudication stay as they are."""
    first = task.request.fees[0]
    fees = tuple(first.model_copy(update={"line_no": f"L{number}"}) for number in range(1, lines + 1))
    request = task.request.model_copy(update={"fees": fees, "total": first.amount * lines})
    return replace(task, request=request)


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of one call, best of several rounds."""
    best = Decimal("Infinity")
    for _ in range(ROUNDS):
        calls, begun = 0, time.thread_time_ns()
        ends = begun + int(ROUND_S * 1e9)
        while time.thread_time_ns() < ends:
            work()
            calls += 1
        best = min(best, Decimal(time.thread_time_ns() - begun) / calls / 1_000_000)
    return float(best)


def measured(sample: Path, lines: int) -> tuple[float, float]:
    """Milliseconds of writing and of reading."""
    expected, task, answer = read_answer(sample)
    settings = read_settings(sample.parent / f"{expected['task']}.task.json", expected["adapter"])
    adapter = make_adapter(settings)
    bill = longer(task, lines) if lines else task
    try:
        return cpu_ms(lambda: adapter.prepare(bill)), cpu_ms(lambda: adapter.decode(task, answer))
    finally:
        adapter.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=0, help="fee lines of the bill instead of the recorded ones")
    lines = parser.parse_args().lines
    costs = {sample: measured(sample, lines) for sample in sorted(ADAPTERS.glob(f"**/{SAMPLE}"))}
    plain = sum(costs[BASELINE])
    print(f"{'dialect':24} {'write ms':>9} {'read ms':>9} {'over REST':>10} {'times':>6}")
    for sample, (write, read) in costs.items():
        name = str(sample.parent.parent.relative_to(ADAPTERS))
        print(f"{name:24} {write:9.3f} {read:9.3f} {write + read - plain:10.3f} {(write + read) / plain:6.1f}")


if __name__ == "__main__":
    main()
