"""Rules about the stamp."""
