"""Plain command lines, read without argparse, which costs a gate more than its own work.

A command declares its arguments once, with argparse's own `add_argument`. `read` understands what
can only mean one thing: `--name VALUE`, `--name=VALUE`, flags, and the positional arguments side by
side. For all else (`--help`, abbreviations, `-oFILE`, `--`, mistakes) argparse is asked, which gets
the same declarations.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: What is understood of a declaration; one with any other word is left to argparse.
_ACTIONS = ("store", "store_true", "append")
_NUMBERS = (None, "?", "*", "+")


class _NotPlain(Exception):
    """Argparse has to read this command line."""


class Arguments:
    """The values by their names, as an `argparse.Namespace` has them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


class _Argument:
    """One declaration."""

    __slots__ = ("action", "choices", "default", "name", "nargs", "options")

    def __init__(
        self,
        *names: str,
        action: str = "store",
        nargs: str | None = None,
        choices: Sequence[str] | None = None,
        default: Any = None,
        metavar: str | None = None,
        help: str | None = None,
        **others: Any,
    ) -> None:
        self.options = names if names[0].startswith("-") else ()
        if others or action not in _ACTIONS or nargs not in _NUMBERS or (nargs and self.options):
            raise _NotPlain
        long = [name for name in names if name.startswith("--")]
        self.name = (long or names)[0].lstrip("-").replace("-", "_")
        self.action = action
        self.nargs = nargs
        self.choices = choices
        self.default = False if action == "store_true" else default

    def checked(self, value: str) -> str:
        """The value, if it is one of those that can be chosen."""
        if self.choices is not None and value not in self.choices:
            raise _NotPlain
        return value


class _Declared:
    """Collects what a command declares."""

    def __init__(self) -> None:
        self.options: dict[str, _Argument] = {}
        self.positional: list[_Argument] = []

    def add_argument(self, *names: str, **traits: Any) -> None:
        """As `argparse.ArgumentParser.add_argument`."""
        argument = _Argument(*names, **traits)
        self.options.update(dict.fromkeys(argument.options, argument))
        if not argument.options:
            self.positional.append(argument)

    def add_subparsers(self, **_: Any) -> None:
        """Commands within commands are argparse's matter."""
        raise _NotPlain


def read(configure: Callable[[Any], object], words: Sequence[str]) -> Arguments | None:
    """The arguments that the words give to what `configure` declares; None: argparse has to say."""
    try:
        declared = _Declared()
        configure(declared)
        return Arguments(_values(declared, words))
    except _NotPlain:
        return None


def _values(declared: _Declared, words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        one.name: one.default for one in (*declared.options.values(), *declared.positional)
    }
    row: list[str] = []
    ended = False  # the row of positional arguments
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("-"):
            if ended:
                raise _NotPlain
            row.append(word)
            continue
        ended = bool(row)
        name, equals, value = word.partition("=")
        option = declared.options.get(name)
        if option is None or (equals and (not value or not name.startswith("--"))):
            raise _NotPlain
        if option.action == "store_true":
            if equals:
                raise _NotPlain
            values[option.name] = True
            continue
        if not equals:
            if at == len(words) or words[at].startswith("-"):
                raise _NotPlain
            value = words[at]
            at += 1
        option.checked(value)
        before: Sequence[str] | None = values[option.name]
        if option.action == "append":
            values[option.name] = [*(before or ()), value]
        else:
            values[option.name] = value
    values.update(_positional(declared.positional, row))
    return values


def _positional(arguments: Sequence[_Argument], row: list[str]) -> dict[str, Any]:
    """The values of the positional arguments: one that takes several stands alone."""
    if len(arguments) == 1 and arguments[0].nargs is not None:
        (argument,) = arguments
        for word in row:
            argument.checked(word)
        if argument.nargs == "?":
            if len(row) > 1:
                raise _NotPlain
            return {argument.name: row[0]} if row else {}
        if not row and (argument.nargs == "+" or argument.default is not None):
            raise _NotPlain
        return {argument.name: row}
    if len(row) != len(arguments) or any(one.nargs for one in arguments):
        raise _NotPlain
    return {one.name: one.checked(word) for one, word in zip(arguments, row)}
