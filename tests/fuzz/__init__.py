"""Fuzzing of everything that reads: `python -m tests.fuzz.run --seconds 60`; see docs/fuzzing.md."""
