"""Signed stamps: who signed a plugin's code and its manifest (docs/explanation/trust.md).

Nothing of this is imported unless a stamp is signed or a policy requires a signature.
"""
