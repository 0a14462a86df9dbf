"""What a TensorFlow release registers by itself, without importing it.

Two sources. The package's own list of ops with Python wrappers, `_api/v2/raw_ops/__init__.py`,
is right for any installation but lacks internal ops. The tables in `data/`, made by
`tools.registrations` from processes of each minor release, hold all ops and the CPU
kernels. They are read only when they are asked for.
"""

from __future__ import annotations

import os

from ..models.versions import minor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.registration import KernelRecord

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
OPS, KERNELS = "ops.txt", "kernels.zlib"
RAW_OPS = "_api/v2/raw_ops/__init__.py"
#: Five times the list of the newest release.
MAX_LIST = 1 << 20
#: Names that are looked for in the lists as they are; for more it pays to take them apart.
FEW = 32


class BuiltIn:
    """One installed release's own ops and CPU kernels."""

    def __init__(self, package_dir: str, version: str) -> None:
        self._path = os.path.join(package_dir, RAW_OPS)
        self._minor = minor(version)
        self._wrapped: bytes | None = None
        self._table: tuple[bytes, int] | None = None
        self._kernels: bytes | None = None
        self._asked = 0
        self._names: frozenset[bytes] | None = None

    @property
    def known(self) -> bool:
        """Whether the tables hold this minor release, so that internal ops are known too."""
        return self._ops()[1] >= 0

    def has(self, op: str) -> bool:
        """Whether the release registers an op of that name."""
        name = op.encode("utf-8", "replace")
        self._asked += 1
        if self._asked > FEW:
            return name in self._all()
        table, bit = self._ops()
        if bit >= 0:
            at = table.find(b"\n" + name + b" ")
            if at >= 0:
                mask = table[at + len(name) + 2 : table.index(b"\n", at + 1)]
                if int(mask, 16) >> bit & 1:
                    return True
        listed = self._listed()
        return listed.find(b" " + name + b"\n") >= 0 or listed.find(b" " + name + b" #") >= 0

    def _all(self) -> frozenset[bytes]:
        """The names for which `has` is true."""
        if self._names is None:
            table, bit = self._ops()
            lines = table.split(b"\n")[1:] if bit >= 0 else []
            rows = (line.split(b" ") for line in lines if line)
            found = {row[0] for row in rows if int(row[-1], 16) >> bit & 1}
            # `from tensorflow.python.ops.gen_math_ops import abs as Abs # line: 71`, or without
            # the remark.
            for line in self._listed().split(b"\n")[:-1]:
                words = line.partition(b" #")[0].split(b" ")
                if len(words) > 1:
                    found.add(words[-1])
            self._names = frozenset(found)
        return self._names

    def cpu_kernels(self, op: str) -> tuple[KernelRecord, ...] | None:
        """The CPU kernels that the release has for an op; None where its tables are not known."""
        import zlib

        from ..models.registration import KernelRecord, TypeConstraint

        if self._kernels is None:
            with open(os.path.join(FOLDER, KERNELS), "rb") as file:
                self._kernels = zlib.decompress(file.read())
        table = self._kernels
        bit = _bit(table, self._minor)
        if bit < 0:
            return None
        found = []
        start = table.find(b"\n" + op.encode("utf-8", "replace") + b" ")
        while start >= 0:
            end = table.index(b"\n", start + 1)
            name, priority, label, *constraints, mask = table[start + 1 : end].decode().split(" ")
            if name != op:
                break
            if int(mask, 16) >> bit & 1:
                pairs = [part.split("=", 1) for part in constraints]
                found.append(
                    KernelRecord(
                        op=op,
                        device="CPU",
                        constraints=tuple(
                            TypeConstraint(attr=a, types=tuple(t.split(","))) for a, t in pairs
                        ),
                        priority=int(priority),
                        label="" if label == "-" else label,
                    )
                )
            start = end if end + 1 < len(table) else -1
        return tuple(found)

    def _ops(self) -> tuple[bytes, int]:
        if self._table is None:
            with open(os.path.join(FOLDER, OPS), "rb") as file:
                table = file.read()
            self._table = table, _bit(table, self._minor)
        return self._table

    def _listed(self) -> bytes:
        if self._wrapped is None:
            try:
                with open(self._path, "rb") as file:
                    self._wrapped = file.read(MAX_LIST).replace(b"\r\n", b"\n")
            except OSError:
                self._wrapped = b""
        return self._wrapped


def _bit(table: bytes, release: str) -> int:
    """The place of a minor release in a table's masks, -1 where it has none."""
    releases = table[: table.index(b"\n")].decode().split(" ")[1:]
    return releases.index(release) if release in releases else -1
