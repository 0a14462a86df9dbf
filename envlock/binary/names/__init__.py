"""Mangled C++ names (Itanium C++ ABI)."""
