"""The rules about signatures; `verify` makes their findings."""

from __future__ import annotations

from ...models.verdict import Verdict
from ..base import Rules

RULES = Rules("signature")
MISSING = RULES.add(
    "signature-missing",
    "The policy requires a signature; the plugin has none",
    "Reported only where a policy or `--trust` names keys. An unsigned plugin can come from anyone; some "
    "tools, such as `llvm-strip`, drop the stamp and its signature.",
    Verdict.UNSAFE,
)
UNTRUSTED = RULES.add(
    "signature-untrusted",
    "The plugin is signed with a key that is not trusted",
    "Reported only where a policy or `--trust` names keys. The signature may be valid, but the "
    "policy does not trust this key.",
    Verdict.UNSAFE,
)
EDITED = RULES.add(
    "signature-edited",
    "The plugin was edited after it was signed, as wheel repair does",
    "Reported only where a policy or `--trust` names keys. Code, data, relocations and symbols are what was "
    "signed, but names of libraries or folders to search (DT_NEEDED, DT_RUNPATH, DT_RPATH, "
    "DT_SONAME) differ, or patchelf moved the tables that hold them. Whoever sets them decides "
    "which code is loaded beside the plugin, so this is refused unless a policy sets this rule "
    "to something milder.",
    Verdict.UNSAFE,
)
BROKEN = RULES.add(
    "signature-broken",
    "What is loaded, or the manifest, is not what was signed",
    "Reported only where a policy or `--trust` names keys. Something that is loaded was changed in a way "
    "that strip and patchelf do not explain, the manifest is another one, or the signature "
    "itself is damaged or forged.",
    Verdict.UNSAFE,
)
