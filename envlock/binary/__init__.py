"""What stands in binaries: ELF structure, debug information, mangled names, machine code."""
