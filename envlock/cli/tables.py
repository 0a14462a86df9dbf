"""Tables for people at a terminal, drawn by rich where it is installed."""

from __future__ import annotations

import sys

from ..models.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def drawn(
    header: Sequence[str], rows: Iterable[Sequence[str]], output: str | None = None
) -> str | None:
    """The rows as a table as wide as the terminal; no cell is cut.

    None where the text goes elsewhere (`output` names a file, stdout is no terminal), so that what
    programs read stays as it is, and where rich is not installed.
    """
    stream = sys.stdout
    if output is not None or stream is None or stream.closed or not stream.isatty():
        return None
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(table)
    return capture.get()
