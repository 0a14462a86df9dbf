"""Reading the usual command lines without argparse, whose import and parser cost a gate 8 ms.

`read` knows options spelled out with their value behind them, flags, and one run of positional
arguments. For anything else (help, abbreviations, `--option=value`, `--`, a mistake) it gives way
to argparse. Both go by the same declarations, a command's `configure`; tests/unit/cli/test_quick.py
holds them to the same answers.
"""

from __future__ import annotations

from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, NoReturn


class _Special(Exception):
    """This takes argparse."""


class _Option:
    __slots__ = ("action", "choices", "dest")

    def __init__(self, dest: str, action: str, choices: Collection[str] | None) -> None:
        self.dest = dest
        self.action = action
        self.choices = choices


class Declarations:
    """Takes down what `configure` tells an `ArgumentParser`, as far as `read` can go by it."""

    def __init__(self) -> None:
        self.options: dict[str, _Option] = {}
        self.defaults: dict[str, Any] = {}
        self.positionals: list[str] = []
        self.several: str | None = None  # the positional that takes all there are

    def add_argument(
        self,
        *names: str,
        action: str = "store",
        nargs: str | None = None,
        default: Any = None,
        choices: Collection[str] | None = None,
        dest: str | None = None,
        metavar: str | None = None,
        help: str | None = None,
        **more: object,
    ) -> None:
        """As `argparse.ArgumentParser.add_argument`."""
        if more or action not in ("store", "append", "store_true"):
            raise _Special
        if not names[0].startswith("-"):
            if choices is not None or nargs not in (None, "+"):
                raise _Special
            self.positionals.append(names[0])
            if nargs is not None:
                self.several = names[0]
            return
        if nargs is not None:
            raise _Special
        if dest is None:
            dest = next((n for n in names if n.startswith("--")), names[0])
            dest = dest.lstrip("-").replace("-", "_")
        self.defaults[dest] = False if action == "store_true" else default
        self.options.update(dict.fromkeys(names, _Option(dest, action, choices)))

    def add_subparsers(self, **_: object) -> NoReturn:
        """Commands of a command."""
        raise _Special

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """The values of a command line. Raises `_Special`."""
        values = dict(self.defaults)
        runs: list[list[str]] = []
        between = True
        left = iter(words)
        for word in left:
            if not word.startswith("-"):
                if between:
                    runs.append([])
                    between = False
                runs[-1].append(word)
                continue
            between = True
            option = self.options.get(word)
            if option is None:
                raise _Special
            if option.action == "store_true":
                values[option.dest] = True
                continue
            value = next(left, None)
            if value is None or value.startswith("-"):
                raise _Special
            if option.choices is not None and value not in option.choices:
                raise _Special
            if option.action == "append":
                values[option.dest] = [*(values[option.dest] or ()), value]
            else:
                values[option.dest] = value
        values.update(self._positional(runs))
        return values

    def _positional(self, runs: list[list[str]]) -> dict[str, Any]:
        given = runs[0] if len(runs) == 1 else []
        if len(runs) > 1 or len(given) < len(self.positionals):
            raise _Special
        if self.several is not None:
            if len(self.positionals) > 1:
                raise _Special
            return {self.several: given}
        if len(given) > len(self.positionals):
            raise _Special
        return dict(zip(self.positionals, given))


def read(configure: Callable[[Any], None], words: Sequence[str]) -> SimpleNamespace | None:
    """What argparse would make of a command's arguments; None where only argparse can tell."""
    declared = Declarations()
    try:
        configure(declared)
        return SimpleNamespace(**declared.read(words))
    except _Special:
        return None
