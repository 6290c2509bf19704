"""`hub demo`: a generated hospital day, settled for real."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, show_json

if TYPE_CHECKING:
    from hub.demo.screen import Screen

INTERRUPTED = 130
CASES, CASES_A_DAY = 200, 60

Cases = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=200_000,
        help="How many settlements; a whole city's day has 14177. [default: 200; 60 a day of several]",
    ),
]
Seed = Annotated[int, typer.Option(help="Another seed, another day.")]
Broker = Annotated[
    str,
    typer.Option(help="Go through RabbitMQ: amqp://user:password@host/vhost, a vhost of its own."),
]
Rate = Annotated[float, typer.Option(min=0, help="Settlements a second; 0 is as fast as answers come.")]
Keep = Annotated[Path | None, typer.Option(help="Keep database, books and logs in this folder.")]
AllDialects = Annotated[
    bool,
    typer.Option("--all-dialects", help="A mixed day instead: every region, every dialect, parties that misbehave."),
]
Days = Annotated[
    int,
    typer.Option(
        min=1, max=14, help="Several days instead, from their bills to their seals, and the month that pays them."
    ),
]
Faults = Annotated[
    bool, typer.Option("--faults", help="With --days: let some of everything go wrong, and find exactly that.")
]
Prove = Annotated[
    Path | None, typer.Option(help="Only compare the books of a kept demo once more; nothing else is run.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", short_help="Settle a generated hospital day and prove that all books agree.")(demo)


def demo(
    cases: Cases = None,
    seed: Seed = 20,
    broker: Broker = "",
    rate: Rate = 0.0,
    keep: Keep = None,
    prove: Prove = None,
    all_dialects: AllDialects = False,
    days: Days = 1,
    faults: Faults = False,
    as_json: AsJson = False,
) -> None:
    """Settle a generated hospital day against make-believe payers and prove that all books agree to the fen.

    Starts a private PostgreSQL, a basic insurance system (SOAP), three insurers (REST and queue) and the hub, settles,
    repeats and cancels as hospitals do, then holds the payers' books, the hub's legs and the hospitals' record against
    each other. Needs no root, no RabbitMQ, no settings. Exit code 0: books agree, 1: they differ.

    With --all-dialects the day is smaller and wider: four regions, ten kinds of parties, HTTP and SOAP, stays step by
    step, results that were adjudicated elsewhere, lost answers.

    With --days 3 the mixed day is lived three times, on days before today: each morning after everybody's statements
    are compared with the hub's books, breaks are seen to by two people, and the day is sealed; then the month is
    claimed, audited, paid and confirmed. Exit code 1 unless everything is.

    Example: hub demo --cases 500        Example: hub demo --broker amqp://guest:guest@127.0.0.1/demo
    Example: hub demo --all-dialects --cases 150        Example: hub demo --days 3 --faults
    """
    import signal

    import structlog

    from hub.demo.mixed_report import mixed_as_dict, show_mixed
    from hub.demo.report import proof_as_dict, show, show_proof
    from hub.demo.run import DemoOptions, prove_again, run_demo, run_mixed_demo
    from hub.demo.screen import Screen
    from hub.demo.stage import DemoFailed, DemoRefused

    if all_dialects and (broker or prove or rate):
        fail("--all-dialects goes with --cases, --seed, --keep and --json", USAGE)
    several = days > 1 or faults
    if several and (broker or prove or rate or all_dialects):
        fail("--days goes with --cases, --seed, --faults, --keep and --json", USAGE)
    # What this process does itself is said on the screen; the hub and the parties have logs.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    screen = Screen()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: screen.interrupt())
    try:
        if prove is not None:
            proof = prove_again(prove.absolute(), screen)
            show_json({"proof": proof_as_dict(proof)}) if as_json else show_proof(proof, console())
            good = proof.agree
        elif several:
            good = _several_days(days, cases, seed, screen, keep, faults=faults, as_json=as_json)
        elif all_dialects:
            mixed = run_mixed_demo(DemoOptions(cases or CASES, seed, "", rate, keep), screen)
            show_json(mixed_as_dict(mixed)) if as_json else show_mixed(mixed, console())
            good = mixed.good
        else:
            report = run_demo(DemoOptions(cases or CASES, seed, broker, rate, keep), screen)
            good = report.proof.agree
            show_json(report.as_dict()) if as_json else show(report, console())
            screen.say("three days to their seals, and the month that pays them: hub demo --days 3 --faults")
    except DemoFailed as error:
        fail(str(error), USAGE if isinstance(error, DemoRefused) else NEGATIVE)
    except KeyboardInterrupt:
        fail("interrupted; everything is stopped", INTERRUPTED)
    if not good:
        raise typer.Exit(NEGATIVE)


def _several_days(
    days: int, cases: int | None, seed: int, screen: Screen, keep: Path | None, *, faults: bool, as_json: bool
) -> bool:
    """Live and close them; whether everything is as it should be."""
    from hub.demo.days import DaysOptions, run_days_demo
    from hub.demo.days_report import days_as_dict, show_days

    report = run_days_demo(DaysOptions(days, cases or CASES_A_DAY, seed, faults, keep), screen)
    show_json(days_as_dict(report)) if as_json else show_days(report, console())
    return report.good
