"""What makes the atlas, the tables and the generated pages; not in the wheel."""
