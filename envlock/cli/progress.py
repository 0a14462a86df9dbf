"""A progress bar on a terminal: rich's where it is installed, a plain line otherwise."""

from __future__ import annotations

import contextlib
import os
import sys

from ..models.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[int, int, str], None]


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[Progress | None]:
    """A function that is called with (done, total, next one); None where nothing is to be shown."""
    if not wanted or sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        with _plain() as progress:
            yield progress
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as rich:
        task = rich.add_task("", total=None)

        def update(done: int, total: int, label: str) -> None:
            rich.update(task, completed=done, total=total, description=_short(label, 50))

        yield update


@contextlib.contextmanager
def _plain() -> Iterator[Progress]:
    def update(done: int, total: int, label: str) -> None:
        width = 20
        filled = width * done // max(total, 1)
        bar = "#" * filled + "." * (width - filled)
        sys.stderr.write(f"\r\x1b[K[{bar}] {done}/{total} {_short(label, 44)}")
        sys.stderr.flush()

    try:
        yield update
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _short(label: str, width: int) -> str:
    name = printable(os.path.basename(label))
    return name if len(name) <= width else f"{name[: width - 1]}…"
