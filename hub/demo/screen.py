"""Progress for people: a live bar on a terminal, plain lines elsewhere. Everything goes to standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 2.0


class Screen:
    """Says what is being done."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._begun = time.monotonic()
        self._interrupted = False

    def interrupt(self) -> NoReturn:
        """Somebody wants it to end. Raised once more at the next step: Python drops an exception that a signal raises
        while a finalizer or a callback of the interpreter runs."""
        self._interrupted = True
        raise KeyboardInterrupt

    def _go_on(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        """One line with the seconds since the start."""
        self._go_on()
        self._console.print(f"[dim]{time.monotonic() - self._begun:5.1f} s[/]  {text}", soft_wrap=True)

    @contextlib.contextmanager
    def counting(self, total: int) -> Iterator[Callable[[str, int], None]]:
        """A function to be told how many of `total` are done of what."""
        if not self._console.is_terminal:
            yield self._in_lines(total)
            return
        columns = (TextColumn("{task.description:>10}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task("settled", total=total)

            def show(what: str, done: int) -> None:
                self._go_on()
                progress.update(bar, description=what, completed=done)

            yield show

    def _in_lines(self, total: int) -> Callable[[str, int], None]:
        said_at = time.monotonic()

        def tell(what: str, done: int) -> None:
            nonlocal said_at
            self._go_on()
            if time.monotonic() - said_at >= LINE_EVERY_S:
                said_at = time.monotonic()
                self.say(f"{done} of {total} {what}")

        return tell
