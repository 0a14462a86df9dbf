"""Names as numbers: two independent CRCs, both of them C code that needs no import of hashlib."""

from __future__ import annotations

from binascii import crc32, crc_hqx


def symbol_key(name: bytes) -> int:
    """40 bits: CRC-32 above the low byte of CRC-CCITT, whose polynomial is another one."""
    return crc32(name) << 8 | crc_hqx(name, 0xFFFF) & 0xFF


def name_key(name: str) -> int:
    """`symbol_key` of a class or function name."""
    return symbol_key(name.encode())
