"""Which C and C++ run time a plugin needs, and which it can have at most."""

from __future__ import annotations

from .record import Record


class RuntimeNeeds(Record):
    """What the file itself says; None where it sets no limit.

    `glibc_newest` is 2.40 for a plugin that asks for an executable stack: from 2.41 on it is refused.
    """

    glibc_oldest: str | None = None  # "2.34"
    glibc_newest: str | None = None  # "2.40"
    glibcxx_oldest: str | None = None  # the highest GLIBCXX_ version needed, "3.4.30"

    def sentence(self) -> str | None:
        """ "needs glibc 2.34 or newer, and a libstdc++ with GLIBCXX_3.4.30"; None without any."""
        parts = []
        if self.glibc_oldest and self.glibc_newest:
            parts.append(f"glibc {self.glibc_oldest} to {self.glibc_newest}")
        elif self.glibc_oldest:
            parts.append(f"glibc {self.glibc_oldest} or newer")
        elif self.glibc_newest:
            parts.append(f"glibc {self.glibc_newest} or older")
        if self.glibcxx_oldest:
            parts.append(f"a libstdc++ with GLIBCXX_{self.glibcxx_oldest}")
        if not parts:
            return None
        stack = " (it asks for an executable stack)" if self.glibc_newest else ""
        return f"needs {' and '.join(parts)}{stack}"
