#!/usr/bin/env bash
# capstone 5.0.9 says that `test eax, imm32` writes EAX when it is encoded as A9, the accumulator's short
# form, and that it only reads it when the same instruction is encoded as F7 /0. TEST writes nothing but
# the flags (Intel SDM, volume 2, TEST). With a REX.W prefix the same opcode is right, and so is the form
# for one byte, A8. Compilers write the short form wherever they can, so whoever asks `regs_access` what
# an instruction changes loses EAX behind each of them. Seen, on x86-64:
#
#   a900000100     test eax, 0x10000    reads eax    writes eax rflags
#   f7c000000100   test eax, 0x10000    reads eax    writes rflags
#   48a900000100   test rax, 0x10000    reads rax    writes rflags
#   a801           test al, 1           reads al     writes rflags
#
# Fails if that changes. Needs python3 with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'capstone==5.0.9'
"$folder/venv/bin/python" - <<'PY'
import capstone

engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
engine.detail = True
seen = {}
for code in ("a900000100", "f7c000000100", "48a900000100", "a801"):
    one = next(engine.disasm(bytes.fromhex(code), 0))
    reads, writes = ([one.reg_name(r) for r in found] for found in one.regs_access())
    print(f"{code:<14} {one.mnemonic} {one.op_str:<15} reads {' '.join(reads):<6} writes {' '.join(sorted(writes))}")
    seen[code] = sorted(writes)
assert seen == {
    "a900000100": ["eax", "rflags"],
    "f7c000000100": ["rflags"],
    "48a900000100": ["rflags"],
    "a801": ["rflags"],
}, seen
PY
