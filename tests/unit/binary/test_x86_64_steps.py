"""x86-64 code as steps, with capstone as the judge, over code that compilers and libraries hold."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envlock.binary.code import steps as s
from envlock.binary.code import x86_64_scan, x86_64_steps
from envlock.binary.code.calls import function_starts
from envlock.binary.code.x86_64_grammar import INSTRUCTION
from envlock.binary.elf import ElfFile
from envlock.binary.elf.image import PF_X, PT_LOAD

capstone = pytest.importorskip("capstone")

SOURCE = """
#include <cstddef>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>
struct Base { virtual ~Base(); virtual int one(int); virtual long two(); long a[20]; float f; };
struct Pair { double x, y; float z[8]; unsigned char bytes[40]; };
int call(Base *b, int n) { return b->one(n) + (int)b->two() + (int)b->a[n & 7]; }
double sum(const Pair *p, std::size_t n) {
    double all = 0;
    for (std::size_t i = 0; i < n; i++) all += p[i].x * p[i].y + p[i].z[3];
    return std::sqrt(all);
}
void scale(float *a, const float *b, int n) { for (int i = 0; i < n; i++) a[i] = a[i] * 3 + b[i]; }
std::string text(const std::vector<std::string> &v) {
    std::string all;
    for (const auto &one : v) all += one;
    return all;
}
unsigned long mix(unsigned long a, unsigned char b, short c) {
    return (a << (b & 63)) ^ (a / (c | 1)) ^ __builtin_bswap64(a) ^ __builtin_popcountl(a);
}
std::shared_ptr<Pair> make(const Pair &p) { return std::make_shared<Pair>(p); }
void fill(Pair *p) { std::memset(p, 0, sizeof *p); p->bytes[3] = 7; p->z[2] = 1; }
"""
#: Every so many functions of a large library.
EVERY = 9
FLAGS = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "avx2": ("-O3", "-march=haswell", "-ffast-math"),
    "avx512": ("-O3", "-march=skylake-avx512", "-mprefer-vector-width=512", "-ffast-math"),
}


def functions(path: Path) -> Iterator[tuple[int, bytes]]:
    """(address, code) of the functions of a file, without the last one: it ends with padding."""
    with ElfFile.open(path) as elf:
        starts = function_starts(elf)
        for segment in elf.segments:
            if segment.type != PT_LOAD or not segment.flags & PF_X:
                continue
            inside = [x for x in starts if segment.vaddr <= x < segment.vaddr + segment.filesz]
            for start, end in zip(inside, inside[1:]):
                yield start, elf.read(segment.offset + start - segment.vaddr, end - start, "code")


@pytest.fixture(scope="module")
def judge() -> capstone.Cs:
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def system_library(name: str) -> Path:
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return Path(found.stdout.strip()).resolve()


@pytest.fixture(scope="module", params=[*FLAGS, "libstdc++.so.6", "libm.so.6"])
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[int, bytes]]:
    if request.param not in FLAGS:
        return list(functions(system_library(request.param)))[::EVERY]
    folder = tmp_path_factory.mktemp("code")
    (folder / "code.cc").write_text(SOURCE)
    command = ["g++", "-shared", "-fPIC", *FLAGS[request.param], "code.cc", "-o", "code.so"]
    subprocess.run(command, cwd=folder, check=True)
    return list(functions(folder / "code.so"))


def decoded(judge: capstone.Cs, start: int, raw: bytes) -> list[capstone.CsInsn] | None:
    """All instructions, None where capstone does not know one."""
    found = list(judge.disasm(raw, start))
    return found if sum(one.size for one in found) == len(raw) else None


def test_every_instruction_ends_where_capstone_says(
    judge: capstone.Cs, code: list[tuple[int, bytes]]
) -> None:
    count = 0
    for start, raw in code:
        wanted = decoded(judge, start, raw)
        if wanted is None:
            continue
        spans = [match.span() for match in INSTRUCTION.finditer(raw)]
        assert spans == [(i.address - start, i.address - start + i.size) for i in wanted], hex(
            start
        )
        count += len(wanted)
    assert count > 200


#: Not followed, by intent: nothing is read or written, or only the processor's own state is.
IDLE = ("nop", "prefetch", "endbr", "lea", "clflush", "xsave", "xrstor", "fx", "ldmxcsr", "stmxcsr")
NUMBERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
#: Each register's number by the names of its parts.
PARTS = {
    **{name: number for number, name in enumerate(NUMBERS)},
    **{"e" + name[1:]: number for number, name in enumerate(NUMBERS[:8])},
    **{name[1:]: number for number, name in enumerate(NUMBERS[:8])},
    **{name[1] + "l": number for number, name in enumerate(NUMBERS[:4])},
    **{name[1] + "h": number for number, name in enumerate(NUMBERS[:4])},
    **{name[1:] + "l": number for number, name in enumerate(NUMBERS[:8])},
    **{f"r{n}{part}": n for n in range(8, 16) for part in "dwb"},
}


def instructions(
    judge: capstone.Cs, code: list[tuple[int, bytes]]
) -> Iterator[tuple[capstone.CsInsn, list[s.Step]]]:
    """Each instruction as capstone has it, and its steps."""
    for start, raw in code:
        for one in decoded(judge, start, raw) or ():
            if not one.mnemonic.startswith(IDLE):
                place = one.address - start
                yield one, x86_64_steps.steps(raw[place : place + one.size], one.address)


def test_every_access_by_a_register_has_its_offset_and_width(
    judge: capstone.Cs, code: list[tuple[int, bytes]]
) -> None:
    count = 0
    for one, found in instructions(judge, code):
        shown = {(x[2], x[3], 8) for x in found if x[0] == s.LOAD}
        shown |= {(x[1], x[2], x[3]) for x in found if x[0] in (s.STORE, s.ACCESS)}
        shown |= {(x[1], x[2], 8) for x in found if x[0] in (s.CALL_THROUGH, s.JUMP_THROUGH)}
        wanted = set()
        for operand in one.operands:
            if operand.type != capstone.x86.X86_OP_MEM:
                continue
            base = one.reg_name(operand.mem.base) if operand.mem.base else ""
            width = operand.size if operand.size in (1, 2, 4, 8) else 16
            if one.mnemonic in ("comisd", "ucomisd", "vcomisd", "vucomisd"):
                width = 8  # capstone 5 says 16, which is the register's size
            if base in NUMBERS and not operand.mem.index and not operand.mem.segment:
                wanted.add((NUMBERS.index(base), operand.mem.disp, width))
        assert shown == wanted, (hex(one.address), one.bytes.hex(), one.mnemonic, one.op_str)
        count += len(wanted)
    assert count > 40


def test_every_general_register_that_is_written_is_told(
    judge: capstone.Cs, code: list[tuple[int, bytes]]
) -> None:
    count = 0
    for one, found in instructions(judge, code):
        # What a call may change is the calling convention's; capstone 5 has `test` with an
        # immediate write the register that it reads, and `cdq` the one that it extends.
        if one.group(capstone.CS_GRP_CALL) or one.mnemonic in ("test", "cdq", "cqo"):
            continue
        names = [one.reg_name(register) for register in one.regs_access()[1]]
        written = {PARTS[name] for name in names if name in PARTS} - {x86_64_steps.STACK}
        kinds = (s.LOAD, s.ADDRESS, s.ADD, s.COPY, s.CONSTANT, s.WRITE, s.SLOT)
        told = {x[1] for x in found if x[0] in kinds}
        assert written <= told, (hex(one.address), one.bytes.hex(), one.mnemonic, one.op_str)
        count += len(written)
    assert count > 40


def test_every_call_to_an_address_is_found_by_scanning(
    judge: capstone.Cs, code: list[tuple[int, bytes]]
) -> None:
    count = 0
    for start, raw in code:
        wanted: dict[int, set[int]] = {}
        for one in decoded(judge, start, raw) or ():
            if one.mnemonic in ("call", "jmp") and one.bytes[0] in (0xE8, 0xE9):
                wanted.setdefault(one.operands[0].imm, set()).add(one.address + 1)
        places, targets = x86_64_scan.calls(raw, start, set(wanted))
        found: dict[int, set[int]] = {}
        for place, target in zip(places, targets):
            found.setdefault(target, set()).add(place)
        for target, ends in wanted.items():
            assert ends <= found[target]
            count += len(ends)
    assert count > 10
