"""What the findings about signatures mean; `verify` makes them."""

from __future__ import annotations

from ...models.report import RuleText

MISSING, UNTRUSTED = "signature-missing", "signature-untrusted"
EDITED, BROKEN = "signature-edited", "signature-broken"

RULES: tuple[RuleText, ...] = (
    RuleText(
        MISSING,
        "Trust is demanded, and nobody signed the plugin",
        "Only told where keys to trust are named. An unsigned plugin can come from anyone; some "
        "tools, such as `llvm-strip`, drop the stamp and its signature.",
        "unsafe",
    ),
    RuleText(
        UNTRUSTED,
        "The plugin is signed with a key that is not trusted",
        "Only told where keys to trust are named. The signature may well be good, but nobody "
        "asked for this key's word.",
        "unsafe",
    ),
    RuleText(
        EDITED,
        "The plugin was edited after it was signed, as wheel repair does",
        "Only told where keys to trust are named. Code, data, relocations and symbols are what was "
        "signed, but names of libraries or folders to search (DT_NEEDED, DT_RUNPATH, DT_RPATH, "
        "DT_SONAME) differ, or patchelf moved the tables that hold them. Whoever sets them decides "
        "which code is loaded beside the plugin, so this is refused unless a policy sets this rule "
        "to something milder.",
        "unsafe",
    ),
    RuleText(
        BROKEN,
        "What is loaded, or the manifest, is not what was signed",
        "Only told where keys to trust are named. Something that is loaded was changed in a way "
        "that strip and patchelf do not explain, the manifest is another one, or the signature "
        "itself is damaged or forged.",
        "unsafe",
    ),
)
