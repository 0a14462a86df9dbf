"""Files as the system keeps them: read within limits, written whole or not at all, the user's folders."""
