"""JSON texts as values, by the C scanner of the json module alone.

The rest of that module imports `re`, which costs a gate more than its own work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: What starts at an index of a text, and where it ends. Raises `StopIteration`.
    Scanner = Callable[[str, int], tuple[Any, int]]

_SPACE = " \t\n\r"


class JsonReader:
    """Reads what `json.JSONDecoder` reads, with the hooks of that one, as attributes that the
    scanner asks for."""

    strict = True
    object_hook = None

    def __init__(
        self,
        *,
        object_pairs_hook: Callable[[list[tuple[str, object]]], object] | None = None,
        parse_int: Callable[[str], object] = int,
        parse_float: Callable[[str], object] = float,
        parse_constant: Callable[[str], object] = float,
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_int = parse_int
        self.parse_float = parse_float
        self.parse_constant = parse_constant
        self._scan: Scanner | None = None

    def read(self, text: str) -> Any:
        """The value that is written in a whole text (`json.JSONDecoder.decode`).

        Raises `ValueError` for what is not JSON, `RecursionError` for what is nested too deeply.
        """
        if self._scan is None:
            self._scan = self._scanner()
        begin = len(text) - len(text.lstrip(_SPACE))
        try:
            try:
                value, end = self._scan(text, begin)
            except SystemError:
                # The part in C raises what `json.decoder` defines, and finds nobody imported it.
                import json.decoder  # noqa: F401

                value, end = self._scan(text, begin)
        except StopIteration as stop:
            problem, end = "Expecting value", stop.value
        else:
            if not text[end:].strip(_SPACE):
                return value
            problem, end = "Extra data", len(text) - len(text[end:].lstrip(_SPACE))
        from json import JSONDecodeError

        raise JSONDecodeError(problem, text, end)

    def _scanner(self) -> Scanner:
        scanner: Scanner
        try:
            from _json import make_scanner

            scanner = make_scanner(self)  # type: ignore[arg-type]
        except ImportError:  # a Python whose json module has no part in C
            from json import JSONDecoder

            scanner = JSONDecoder(
                object_pairs_hook=self.object_pairs_hook,
                parse_int=self.parse_int,
                parse_float=self.parse_float,
                parse_constant=self.parse_constant,
            ).scan_once  # type: ignore[attr-defined]
        return scanner
