"""Debug information (DWARF): class layouts, producers."""
