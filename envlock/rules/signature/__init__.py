"""Rules about signatures."""
