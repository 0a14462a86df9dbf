"""The readers of debug information beside pyelftools, on what compilers really write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile

from envlock.binary.debug.classes import Layout, Reader
from envlock.binary.debug.dwarf import Dwarf
from envlock.binary.debug.producers import read_producers
from envlock.binary.elf import ElfFile
from tests.support.elves import run

SOURCE = """\
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace shop {
enum class Colour : short { red, green };
struct Empty {};
struct Left { virtual ~Left(); virtual int left(int) const; long a; };
struct Right { virtual void right(); short b[3][5]; };
struct Shared : virtual Left { char c; };
class Basket : public Left, private Right, Empty {
 public:
  void right() override;
  virtual void fill(const std::string &, Colour);
  virtual void fill(int);
  struct Item { unsigned weight : 7; unsigned fresh : 1; unsigned : 0; int price : 20; };
  union { int number; double measure; };
  struct { char first; long long second; } pair;
  Item items[4];
  static int count;
  const volatile Colour colour = Colour::red;
  int (*callback)(Basket *);
  int Item::*missing_pointer;
  Left &left_reference;
  Basket(Left &l);
 private:
  std::map<std::string, std::vector<std::unique_ptr<Left>>> shelves;
};
template <typename T, int N> struct Row { T cells[N]; Row *next; };
Row<Basket::Item, 6> row;
Row<std::string, 2> names;
Basket::Basket(Left &l) : left_reference(l) {}
void Basket::right() {}
void Basket::fill(const std::string &, Colour) { struct Local { int unseen; } local{1}; (void)local; }
void Basket::fill(int) {}
int Basket::count = 1;
Left::~Left() {}
int Left::left(int x) const { return x; }
void Right::right() {}
Shared shared;
}  // namespace shop
"""
CLASSES = ("DW_TAG_class_type", "DW_TAG_structure_type", "DW_TAG_union_type")
SCOPES = (*CLASSES, "DW_TAG_namespace")
Shape = tuple[Optional[int], list[Any], list[Any], set[int]]


def number(die: DIE, name: str) -> int | None:
    found = die.attributes.get(name)
    return None if found is None or not isinstance(found.value, int) else found.value


def text(die: DIE) -> str:
    found = die.attributes.get("DW_AT_name")
    return "" if found is None else found.value.decode()


def size_of(die: DIE) -> int:
    """The size in bytes of a value of a type, as the DWARF standard's chapter 5 puts it together."""
    if die.tag in ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"):
        return int(die.cu["address_size"])
    if die.tag in ("DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_typedef"):
        return size_of(die.get_DIE_from_attribute("DW_AT_type"))
    if die.tag == "DW_TAG_array_type":
        size = size_of(die.get_DIE_from_attribute("DW_AT_type"))
        for part in die.iter_children():
            if part.tag == "DW_TAG_subrange_type":
                upper, count = number(part, "DW_AT_upper_bound"), number(part, "DW_AT_count")
                size *= count if count is not None else 0 if upper is None else upper + 1
        return size
    if die.tag == "DW_TAG_ptr_to_member_type":
        return 16  # Itanium C++ ABI, 2.3, of a function; envlock does not tell the two apart
    return number(die, "DW_AT_byte_size") or 0


def members(die: DIE, base: int = 0) -> list[Any]:
    """(name, offset, size, bits) of the members, those of anonymous members in their place."""
    found: list[Any] = []
    for part in die.iter_children():
        if part.tag != "DW_TAG_member" or "DW_AT_external" in part.attributes:
            continue
        if "DW_AT_declaration" in part.attributes:
            continue
        kind = part.get_DIE_from_attribute("DW_AT_type")
        bit = number(part, "DW_AT_data_bit_offset")
        offset = number(part, "DW_AT_data_member_location")
        at = base + (offset if offset is not None else (bit or 0) // 8)
        if not text(part) and kind.tag in CLASSES and not text(kind):
            found += members(kind, at)
            continue
        width = number(part, "DW_AT_bit_size")
        bits = "" if width is None else f":{width}@{bit}"
        found.append((text(part), at, size_of(kind), bits))
    return found


def qualified(die: DIE) -> str:
    """A class's name with the scopes around it."""
    names = []
    while die is not None and die.tag in SCOPES:
        names.append(text(die) or "(anonymous)")
        die = die.get_parent()
    return "::".join(reversed(names))


def shape(die: DIE) -> Shape:
    """Size, members, bases and the slots of virtual functions, those with a mangled name:
    clang gives none to destructors."""
    bases, slots = [], set()
    for part in die.iter_children():
        if part.tag == "DW_TAG_inheritance":
            kind = part.get_DIE_from_attribute("DW_AT_type")
            while kind.tag == "DW_TAG_typedef":
                kind = kind.get_DIE_from_attribute("DW_AT_type")
            bases.append((qualified(kind), number(part, "DW_AT_data_member_location") or 0))
        slot = part.attributes.get("DW_AT_vtable_elem_location")
        if slot is not None and "DW_AT_linkage_name" in part.attributes:
            assert slot.value[0] == 0x10, "DW_OP_constu"
            slots.add(slot.value[1])
    return number(die, "DW_AT_byte_size"), members(die), bases, slots


def classes(dwarf: DWARFInfo) -> dict[str, Shape]:
    """Every complete named class outside of functions, by qualified name."""
    found: dict[str, Shape] = {}

    def visit(die: DIE) -> None:
        for part in die.iter_children():
            if part.tag not in SCOPES or not (text(part) or part.tag == "DW_TAG_namespace"):
                continue
            if part.tag in CLASSES and "DW_AT_declaration" not in part.attributes:
                found.setdefault(qualified(part), shape(part))
            visit(part)

    for unit in dwarf.iter_CUs():
        visit(unit.get_top_DIE())
    return found


def ours(layout: Layout) -> Shape:
    return (
        layout.size,
        [(one.name, one.offset, one.size, one.bits) for one in layout.members],
        [(base.name, base.offset) for base in layout.bases],
        set(layout.slots),
    )


@pytest.mark.parametrize("shared", [False, True], ids=["object", "library"])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_layouts_and_producers_are_those_of_pyelftools(
    compiler: str, version: int, shared: bool, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    source, output = tmp_path / "shop.cc", tmp_path / "shop.out"
    source.write_text(SOURCE)
    kind = ["-shared"] if shared else ["-c"]
    run(
        tool(compiler),
        "-std=c++17",
        "-g",
        f"-gdwarf-{version}",
        "-fPIC",
        *kind,
        source,
        "-o",
        output,
    )
    with output.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        assert {unit["version"] for unit in dwarf.iter_CUs()} >= {version}
        expected = classes(dwarf)
        tops = [unit.get_top_DIE().attributes for unit in dwarf.iter_CUs()]
        compilers = {(t["DW_AT_producer"].value.decode(), t["DW_AT_language"].value) for t in tops}
    with ElfFile.open(output) as elf:
        layouts = Reader(Dwarf(elf)).read()
        producers = {(one.text, one.language) for one in read_producers(elf)}
    if shared:  # the reader of producers is for linked files: it applies no relocations
        assert producers == compilers
    assert {"shop::Basket", "shop::Shared", "shop::Basket::Item"} <= expected.keys()
    assert len(expected) > 50
    assert expected.keys() - layouts.keys() == set()
    assert {name: ours(layouts[name]) for name in expected} == expected
    assert not any("Local" in name for name in layouts), "a function's class is not an interface"
