"""The dynamic linker's answer without the dynamic linker: search, scope, symbols, causes."""
