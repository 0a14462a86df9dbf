"""What calls lead to, by name: a file's own functions, and others through its PLT and GOT."""

from __future__ import annotations

from ...models.errors import ElfError
from ..elf.dynamic import DT_JMPREL, DT_PLTRELSZ, DT_RELA, DT_RELASZ
from ..elf.relocations import SPARE, symbol_indices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..elf.file import ElfFile
    from .steps import Reader


class Names:
    """Names of call targets: functions the file exports and stubs that jump through its GOT."""

    def __init__(self, elf: ElfFile, reader: Reader) -> None:
        self.elf: ElfFile | None = elf
        self.reader: Reader | None = reader
        self.functions: dict[int, str] = {}
        self.slots: dict[int, str] = {}
        dynamic = elf.dynamic
        names = {}
        left = 4 * dynamic.string_table[1] + SPARE
        for index in symbol_indices(elf):
            symbol = dynamic.symbols.symbol(index)
            names[index] = symbol.name.decode("utf-8", "replace")
            left -= len(symbol.name)
            if left < 0:
                raise elf.damaged("the names of its symbols overlap each other")
            if symbol.defined and symbol.type == 2:
                self.functions[symbol.value] = names[index]
        for table, length in ((DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)):
            address, size = dynamic.get(table), dynamic.get(length)
            if not address or not size:
                continue
            raw = elf.read(
                elf.offset_of(address, size, "the relocations"), size - size % 24, "relocations"
            )
            for place, info, _ in elf.struct("QQq").iter_unpack(raw):
                if info >> 32 and info & 0xFFFFFFFF in (6, 7):  # GLOB_DAT, JUMP_SLOT
                    self.slots[place] = names.get(info >> 32, "")
        self._stubs: dict[int, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "elf": None,
            "reader": None,
            "functions": self.functions,
            "slots": self.slots,
            "_stubs": {},
        }

    def of(self, target: int) -> str:
        """The name of what a call to an address ends in, empty for unnamed functions."""
        known = self.functions.get(target)
        if known is not None:
            return known
        if target not in self._stubs:
            self._stubs[target] = self._stub(target)
        return self._stubs[target]

    def _stub(self, target: int) -> str:
        assert self.elf is not None
        assert self.reader is not None
        try:
            offset = self.elf.offset_of(target, 16, "a stub")
        except ElfError:
            return ""
        place = self.reader.stub_slot(target, self.elf.data[offset : offset + 16])
        return self.slots.get(place, "") if place is not None else ""
