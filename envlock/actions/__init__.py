"""The verbs: check, load, stamp, compat, show. They collect the facts and hand them to the rules."""
