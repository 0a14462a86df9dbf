"""The same symbol lookups through pyelftools: every undefined symbol of a plugin in the libraries.

python pyelftools_lookup.py PLUGIN LIBRARY...
"""

from __future__ import annotations

import sys

from elftools.elf.elffile import ELFFile
from elftools.elf.hash import GNUHashSection

with open(sys.argv[1], "rb") as file:
    table = ELFFile(file).get_section_by_name(".dynsym")
    wanted = [
        symbol.name
        for symbol in table.iter_symbols()
        if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
    ]
missing = set(wanted)
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if isinstance(section, GNUHashSection):
                missing -= {name for name in missing if section.get_symbol(name) is not None}
print(len(wanted), len(missing))
