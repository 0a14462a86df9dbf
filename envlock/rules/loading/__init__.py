"""Causes for which the dynamic linker refuses a plugin."""
