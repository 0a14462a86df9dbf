"""Fuzzing of everything that reads (docs/fuzzing.md): `python -m tests.campaigns.fuzz.run`."""
