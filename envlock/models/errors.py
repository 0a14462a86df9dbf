"""The one error tree. Each class knows the exit status that `envlock` ends with.

An error's text is one line: what is wrong, with the values. `hint` is what to do about it,
where there is something to do. Only `envlock.cli` turns errors into text for people.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .report import Report


def printable(text: str, kept: str = "") -> str:
    """Text that may come from a hostile file or name, on one line and safe for a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


class EnvlockError(Exception):
    """Base of everything envlock raises on purpose."""

    exit_status = 3
    several_lines = False  # a report is in the text, every line of it already made printable

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # Files and names that errors speak of may hold anything, also what steers terminals.
        message = printable(message, "\n" if self.several_lines else "")
        super().__init__(message)
        self.message = message
        self.hint = None if hint is None else printable(hint)

    def __str__(self) -> str:
        """As a traceback shows it: what is wrong, and what to do."""
        if self.hint is None:
            return self.message
        between = "\nhint: " if self.several_lines else "; "
        return f"{self.message}{between}{self.hint}"


class UsageError(EnvlockError):
    """Arguments that contradict each other or name nothing."""

    exit_status = 2


class InputError(EnvlockError):
    """An input that cannot be read: exit status 3."""


class FileAccessError(InputError):
    """A file that is missing, unreadable, or not a regular file."""


class ElfError(InputError):
    """Not an ELF file, an ELF file of the wrong kind, or a damaged one."""


class ManifestError(InputError):
    """An embedded manifest that is damaged, too large, or of a newer format."""


class ManifestMissing(ManifestError):
    """The plugin carries no manifest."""


class EnvironmentUnreadable(InputError):
    """The folder or executable named as environment is not one, or cannot be examined."""


class PolicyError(InputError):
    """A policy file that cannot be read or does not validate."""


class KeyFileError(InputError):
    """A file of keys that holds none, another kind, or one that cannot be decrypted."""


class DependencyMissing(EnvlockError):
    """A feature needs a package that is not installed here; the hint is the install command."""


class WriteError(EnvlockError):
    """The result could not be written; the target is as it was."""


class StampRefused(EnvlockError):
    """The environment named for the stamp could not load the plugin itself."""

    exit_status = 1
    several_lines = True

    def __init__(self, message: str, report: Report, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class IncompatiblePluginError(EnvlockError, RuntimeError):
    """`envlock.load` refuses, before a line of the plugin has run; see `.report`."""

    exit_status = 1
    several_lines = True

    def __init__(self, message: str, report: Report, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class EnvlockWarning(UserWarning):
    """What `envlock.load` lets pass but wants said: no stamp, or a lenient policy's findings."""
