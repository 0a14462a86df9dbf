"""GLIBC_TUNABLES as ld.so hears it (`__tunables_init`, elf/dl-tunables.c)."""

from __future__ import annotations

_SIZE_MAX = (1 << 64) - 1
_NUMBER = r"[ \t]*(0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*)?"


class Tunables:
    """The settings of one GLIBC_TUNABLES variable: NAME=VALUE, separated by colons.

    `strict` is what 2.39 brought: a variable with a part that is none is not heard at all, nor is
    a number with anything behind it. Before, what begins as a number counted, and anything else
    was 0.
    """

    __slots__ = ("_settings", "_strict")

    def __init__(self, text: str = "", strict: bool = True) -> None:
        self._strict = strict
        # The last setting of a name counts.
        self._settings: dict[str, str] = {}
        for setting in text.split(":") if text else ():
            name, equals, value = setting.partition("=")
            if equals:
                self._settings[name] = value
            elif strict:
                self._settings.clear()
                break

    def text(self, name: str) -> str:
        """A setting as it stands there; empty where it is not set."""
        return self._settings.get(name, "")

    def number(self, name: str, default: int, low: int = 0, high: int = _SIZE_MAX) -> int:
        """A number's setting; one that is out of the tunable's range is not heard."""
        text = self._settings.get(name)
        if text is None:
            return default
        value = _number(text, self._strict)
        return value if value is not None and low <= value <= high else default

    def without(self, name: str) -> frozenset[str]:
        """What a list such as glibc.cpu.hwcaps=-AVX2,-BMI1 takes away, without the dashes."""
        listed = self._settings.get(name, "")
        return frozenset(word[1:] for word in listed.split(",") if word[:1] == "-")


def _number(text: str, strict: bool) -> int | None:
    """`_dl_strtoul`: decimal, 0x and octal with a leading zero; None where it is not heard."""
    import re

    found = re.match(_NUMBER, text.lower())
    assert found is not None
    if strict and (found.end() < len(text) or not found[0]):
        return None
    digits = found[1] or ""
    if digits[:2] == "0x":
        return int(digits[2:] or "0", 16)
    return int(digits or "0", 8 if digits[:1] == "0" else 10)
