"""What a plugin was compiled against: class layouts, virtual tables and inlined accessors."""
