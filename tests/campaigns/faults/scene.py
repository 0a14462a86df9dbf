"""A folder with a plugin in it that is to be stamped, and what may be found there afterwards."""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from envlock.actions import stamp_writing as writing
from envlock.actions.stamp_writing import Ahead, StampResult, write_stamp
from envlock.binary.elf import ElfFile
from envlock.files.writing import write_file
from envlock.models.errors import EnvlockError
from tests.campaigns.faults.tracing import Call, Fail, Order

PAYLOAD = b'{"format":"envlock.manifest/1","number":1}'
OTHER = b'{"format":"envlock.manifest/1","number":2,"more":"' + b"x" * 3000 + b'"}'
LITTER = re.compile(r"\.envlock-[0-9a-f]{16}\.tmp")


def outcome(result: StampResult | None) -> str:
    return "\n".join(["written", *(result.notes if result else ())])


@dataclass
class Scene:
    """`kind`: "in place", "new output", "replaced output" or "report" (no plugin: write_file).

    "in place, ahead": as large libraries are stamped, with the body copied before the manifest.
    """

    kind: str
    folder: Path
    library: Path
    old: bytes | None = None
    new: bytes = b""
    went_ahead: bool = False

    def __post_init__(self) -> None:
        self.prepare()
        self.old = self.target.read_bytes() if self.target.exists() else None
        assert self.work() == "written"
        assert self.went_ahead == self.kind.endswith("ahead")
        self.new = self.target.read_bytes()
        assert self.new != self.old
        self.prepare()

    @property
    def source(self) -> Path:
        return self.folder / "plugin.so"

    @property
    def target(self) -> Path:
        return self.source if self.kind.startswith("in place") else self.folder / "out.so"

    def prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        shutil.copy(self.library, self.source)
        if self.kind in ("replaced output", "report"):
            self.target.write_bytes(b"what was there before\n" * 100)

    def work(self) -> str:
        """Do it, in whatever process this is; "written" and what was said, or the error."""
        try:
            if self.kind == "report":
                write_file(self.target, b"a report\n" * 3000)
                return outcome(None)
            if self.kind == "in place, ahead":
                return outcome(self._ahead())
            destination = None if self.kind == "in place" else self.target
            return outcome(write_stamp(self.source, destination, PAYLOAD))
        except EnvlockError as error:
            return f"{type(error).__name__}: {error.message}"

    def _ahead(self) -> StampResult:
        with mock.patch.object(writing, "AHEAD_FROM", 0), ElfFile.open(self.source) as elf:  # noqa: SIM117
            with Ahead(elf, self.source, None) as ahead:
                self.went_ahead = ahead.body is not None
                return write_stamp(
                    self.source, None, PAYLOAD, unchanged_since=elf.status, ahead=ahead
                )

    def state(self) -> str:
        """ "old" or "new", byte for byte; anything else is what must never be."""
        found = self.target.read_bytes() if self.target.exists() else None
        return "old" if found == self.old else "new" if found == self.new else "neither"

    def litter(self) -> list[str]:
        """What is in the folder beside plugin and target."""
        names = {self.source.name, self.target.name}
        return [name for name in os.listdir(self.folder) if name not in names]

    def only_known_litter(self) -> bool:
        return all(LITTER.fullmatch(name) for name in self.litter())


def nameless(call: Call) -> bool:
    """Whether it is the one that makes a file without a name."""
    return call.name == "openat" and call.arguments[2] & os.O_TMPFILE == os.O_TMPFILE


def without_nameless(call: Call) -> Order:
    """A file system that has no O_TMPFILE, such as NFS."""
    return Fail(errno.EOPNOTSUPP) if nameless(call) else None


def without_links(call: Call) -> Order:
    """A file system that has O_TMPFILE and no hard links."""
    return Fail(errno.EPERM) if call.name == "linkat" else None


def ordinary(_: Call) -> Order:
    """The file system as it is."""
    return None


FILE_SYSTEMS = {
    "this file system": ordinary,
    "no nameless files": without_nameless,
    "no links to nameless files": without_links,
}
