"""GLIBC_TUNABLES as ld.so hears it (`__tunables_init`, elf/dl-tunables.c)."""

from __future__ import annotations

_SIZE_MAX = (1 << 64) - 1


class Tunables:
    """The settings of one GLIBC_TUNABLES variable: NAME=VALUE, separated by colons."""

    __slots__ = ("_settings",)

    def __init__(self, text: str = "") -> None:
        # The last setting of a name counts.
        self._settings: dict[str, str] = {}
        for setting in text.split(":") if text else ():
            name, equals, value = setting.partition("=")
            if equals:
                self._settings[name] = value

    def text(self, name: str) -> str:
        """A setting as it stands there; empty where it is not set."""
        return self._settings.get(name, "")

    def number(self, name: str, default: int, low: int = 0, high: int = _SIZE_MAX) -> int:
        """A number's setting; one that is out of the tunable's range is not heard."""
        text = self._settings.get(name)
        if text is None:
            return default
        value = _number(text)
        return value if value is not None and low <= value <= high else default

    def without(self, name: str) -> frozenset[str]:
        """What a list such as glibc.cpu.hwcaps=-AVX2,-BMI1 takes away, without the dashes."""
        listed = self._settings.get(name, "")
        return frozenset(word[1:] for word in listed.split(",") if word[:1] == "-")


def _number(text: str) -> int | None:
    """`_dl_strtoul`: decimal, 0x and octal with a leading zero; None where it is no number."""
    text = text.strip(" \t").lower()
    try:
        if text[:2] == "0x":
            return int(text, 16)
        return int(text, 8 if text[:1] == "0" else 10)
    except ValueError:
        return None
