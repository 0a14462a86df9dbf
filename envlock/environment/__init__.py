"""Facts of a Python environment, read from its files: nothing in it is run or imported."""
