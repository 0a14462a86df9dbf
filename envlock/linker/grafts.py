"""Names that wheel repair gives the libraries which it copies into a wheel.

auditwheel copies `libz.so.1.2.13` into `PACKAGE.libs/` as `libz-3a4b5c6d.so.1.2.13`, the hash
being of its content, and makes that its DT_SONAME and the DT_NEEDED of whoever needs it.
"""

from __future__ import annotations

import re

_GRAFT = r"(.+)-[0-9a-f]{6,64}(\.so(?:\.[0-9.]+)?)"


def name_before_graft(name: str) -> str | None:
    """`libz.so.1.2.13` for `libz-3a4b5c6d.so.1.2.13`; None for a name without such a hash."""
    # Most names have no dash, and then nothing is compiled.
    found = re.fullmatch(_GRAFT, name) if "-" in name else None
    return None if found is None else found[1] + found[2]
