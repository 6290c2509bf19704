"""The demo from beginning to end: start everything, live a day, compare three records, stop everything."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from hub.bootstrap import broker_topology
from hub.cli.coverage_file import read_coverage
from hub.demo import hospitals, ledger, mixed
from hub.demo.broker import refuse_a_used_broker
from hub.demo.day import FINAL_WAIT_S_MAX, DayRun, Tally
from hub.demo.ledger import CaseTime
from hub.demo.mixed import MixedReport
from hub.demo.mixed_day import MixedDay, mixed_rule_book
from hub.demo.report import DemoReport, Proof, Slowest
from hub.demo.rulebook import rule_book_text
from hub.demo.samples import write_coverage, yesterday
from hub.demo.screen import Screen
from hub.demo.stage import DemoRefused, Stage, sandbox_addresses, staged, start_hub, start_sandbox
from hub.local_postgres import local_postgres
from hub.timeline import timeline
from routing.rulebook_file import read_rule_book
from sandbox.day import HospitalDay, Place
from sandbox.his_book import HospitalBook
from sandbox.proof import differences
from store import answers, cases, coverage, exchanges, rulebooks
from store.database import open_engine, upgrade

FOLDER_PREFIX = "hub-demo-"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is asked for. `rate` 0 is as fast as answers come; `keep` a folder that stays."""

    cases: int = 200
    seed: int = 20
    broker: str = ""
    rate: float = 0.0
    keep: Path | None = None


def run_demo(options: DemoOptions, screen: Screen) -> DemoReport:
    """Live a day and prove it. Raises DemoFailed when something does not start; leaves nothing running."""
    with demo_folder(options.keep) as folder:
        try:
            with staged(folder, options.broker) as stage:
                screen.say("starting the payers (basic insurance by SOAP, two insurers by REST, one by queue)")
                start_sandbox(stage)
                screen.say("starting the database")
                with demo_database(folder) as engine:
                    report = _live(stage, engine, options, screen)
            if not report.proof.agree:
                tell_where_the_logs_are(folder, options.keep, screen)
            return report
        except DemoRefused:
            raise
        except Exception:
            tell_where_the_logs_are(folder, options.keep, screen)
            raise


def run_mixed_demo(options: DemoOptions, screen: Screen) -> MixedReport:
    """Live a day over all dialects and prove it; errors as `run_demo`."""
    with demo_folder(options.keep) as folder:
        try:
            with staged(folder, "") as stage:
                stage.dialects = True
                mixed.write_secrets(stage)
                screen.say("starting the payers, one for each dialect")
                start_sandbox(stage)
                screen.say("starting the database")
                with demo_database(folder) as engine:
                    report = _live_mixed(stage, engine, options, screen)
            if not report.good:
                tell_where_the_logs_are(folder, options.keep, screen)
            return report
        except Exception:
            tell_where_the_logs_are(folder, options.keep, screen)
            raise


def _live_mixed(stage: Stage, engine: Engine, options: DemoOptions, screen: Screen) -> MixedReport:
    day = MixedDay(options.cases, day=yesterday(), seed=options.seed)
    told = sandbox_addresses(stage)
    mixed.prepare(stage, engine, mixed_rule_book(told["endpoints"]), day.coverage())
    screen.say("starting the hub with its embedded broker")
    start_hub(stage)
    mixed.misbehave(told["control"])
    screen.say(f"settling {day.cases} bills in four regions by HTTP and SOAP, {day.day}")
    try:
        with screen.counting(day.cases) as advance:
            return mixed.live(stage, engine, day, told["control"], advance)
    finally:
        stage.stop("hub")  # before its database


def tell_where_the_logs_are(folder: Path, keep: Path | None, screen: Screen) -> None:
    """They outlive a folder that does not."""
    kept = folder
    if keep is None:
        kept = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}logs-"))
        for log in (*folder.glob("*.log"), *folder.glob("postgres/*.log")):
            shutil.copy(log, kept)
    screen.say(f"it did not end well; the logs are in {kept}")


def prove_again(folder: Path, screen: Screen) -> Proof:
    """Compare the three records of a kept demo once more, as they lie in its folder."""
    if not (folder / "hospitals.sqlite3").exists():
        raise DemoRefused(f"--prove: {folder} holds no demo: run `hub demo --keep {folder}` first")
    with staged(folder, "") as stage:
        screen.say("starting the payers with their books, and the database")
        start_sandbox(stage)
        with demo_database(folder) as engine:
            return _prove_kept(stage, engine)


def _prove_kept(stage: Stage, engine: Engine) -> Proof:
    book = HospitalBook(stage.folder / "hospitals.sqlite3")
    try:
        control = sandbox_addresses(stage)["control"]
        return _prove(engine, control, book, Tally(), settled_down=not book.open_cases())
    finally:
        book.close()


def _live(stage: Stage, engine: Engine, options: DemoOptions, screen: Screen) -> DemoReport:
    day = HospitalDay(options.cases, day=yesterday(), seed=options.seed)
    told = sandbox_addresses(stage)
    _activate(stage, engine, told["endpoints"], day)
    screen.say("starting the hub" + (" with RabbitMQ" if options.broker else " with its embedded broker"))
    start_hub(stage)
    book = HospitalBook(stage.folder / "hospitals.sqlite3")
    try:
        with hospitals.opened(stage, book, day.institutions) as senders:
            run, took_s, settled_down = _day(stage, day, senders, book, options, screen)
        stage.check()
        screen.say("comparing the payers' books, the hub's legs and the hospitals' record")
        proof = _prove(engine, told["control"], book, run.tally, settled_down)
    finally:
        book.close()
        stage.stop("hub")  # before its database
    times = ledger.case_times(engine)
    kept = str(options.keep) if options.keep else ""
    return DemoReport(run.tally, times, took_s, _slowest(engine, times), proof, kept)


def _day(
    stage: Stage,
    day: HospitalDay,
    senders: hospitals.BothWays,
    book: HospitalBook,
    options: DemoOptions,
    screen: Screen,
) -> tuple[DayRun, float, bool]:
    places = f"{len(day.hospitals)} hospitals and {len(day.pharmacies)} pharmacies"
    screen.say(f"settling {day.cases} bills of {places}, {day.day}")
    with screen.counting(day.cases) as advance:

        def step(what: str, done: int) -> None:
            stage.check()
            advance(what, done)

        run = DayRun(day, senders, options.rate, step)
        took_s = run.settle_all()
        run.repeat_some()
        run.cancel_some()
    return run, took_s, senders.settle_down(book, FINAL_WAIT_S_MAX)


def _activate(stage: Stage, engine: Engine, endpoints: dict[str, str], day: HospitalDay) -> None:
    """The rule book of this day's parties and institutions, and everybody's policies, as files and in the database."""
    with_queues = hospitals.with_queues(day.institutions) if stage.broker else []
    places: list[Place] = [*with_queues, *(place for place in day.institutions if place not in with_queues)]
    content = rule_book_text(endpoints, places, amqp=len(with_queues))
    (stage.folder / "rules.yaml").write_text(content, encoding="utf-8")
    if stage.broker:
        refuse_a_used_broker(stage.broker, broker_topology(read_rule_book(content)))
    policies = stage.folder / "coverage.csv"
    write_coverage(policies, day.coverage())
    rows = read_coverage(policies, stage.environment()["HUB_PERSON_KEY_SECRET"].encode())
    with engine.begin() as connection:
        version = rulebooks.add(connection, read_rule_book(content).title, content)
        rulebooks.activate(connection, version, datetime.now(UTC))
        coverage.add(connection, rows)


def _prove(engine: Engine, control: dict[str, str], book: HospitalBook, tally: Tally, settled_down: bool) -> Proof:
    sides = {
        "payers' books": ledger.borne_by_books(control),
        "hub's legs": ledger.borne_by_legs(engine),
        "hospitals": ledger.borne_as_told(book),
    }
    with engine.connect() as connection:
        dead = int(connection.execute(text("SELECT count(*) FROM dead_letter")).scalar_one())
    settlements = sum(1 for _ in book.all())
    return Proof(settlements, sides, differences(sides), ledger.wrong_sums(book), tally.troubles, dead, settled_down)


def _slowest(engine: Engine, times: list[CaseTime]) -> Slowest | None:
    if not times:
        return None
    case_id = max(times, key=lambda one: one.whole_s).case_id
    with engine.connect() as connection:
        case = cases.read(connection, [case_id])[case_id]
        events = timeline(case, exchanges.of_case(connection, case_id), answers.history(connection, case_id))
    return Slowest(case_id, events)


@contextlib.contextmanager
def demo_database(folder: Path, before: Callable[[str], None] = lambda _: None) -> Iterator[Engine]:
    """A private database in the folder; `before` may do something to it while it is empty."""
    with local_postgres(folder) as url:
        before(url)
        upgrade(url)
        engine = open_engine(url, pool_size=8, application="hub-demo", by_key=False)
        try:
            yield engine
        finally:
            engine.dispose()


@contextlib.contextmanager
def demo_folder(keep: Path | None) -> Iterator[Path]:
    """Where a demo lies: `keep`, or a folder that goes with it. DemoRefused when a demo lies there already."""
    if keep is not None:
        if (keep / "hospitals.sqlite3").exists():
            raise DemoRefused(f"--keep: {keep} holds a demo already; name another folder or remove it")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    # As root the database runs as another user, who must be able to pass.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
