"""Rules about the binary interface: class layouts, virtual tables, inlined accessors."""
