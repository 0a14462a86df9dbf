"""Data that crosses a boundary: manifests, reports, policies. No I/O in here."""
