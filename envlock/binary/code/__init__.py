"""Machine code: calls, constant arguments and access paths; nothing is run."""
