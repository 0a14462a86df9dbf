"""What environments are, how two of them differ, and the way back to one that worked."""
