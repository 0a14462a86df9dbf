"""Damages of a real plugin, each with a name and what everybody says about it."""
