"""The rules about the binary interface; `findings`, `assertions` and `rules.releases` make the findings."""

from __future__ import annotations

from ...models.verdict import Verdict
from ..base import ALWAYS, Rules

RULES = Rules("layout")
CLASS_SIZE = RULES.add(
    "abi-class-size",
    "Class size differs",
    "The plugin allocates such objects itself (on the stack, in its own objects, or by calling "
    "`new`), and TensorFlow's code writes as many bytes as its own size has.",
    Verdict.UNSAFE,
    release=ALWAYS,
)
CLASS_LAYOUT = RULES.add(
    "abi-class-layout",
    "Class member has moved",
    "Accessors such as `OpKernelContext::num_inputs()` are inlined into the plugin, with the "
    "offsets of the release that it was built with. In another release another member stands "
    "there. Only members that the plugin really touches count.",
    Verdict.UNSAFE,
    release=ALWAYS,
)
VIRTUAL_TABLE = RULES.add(
    "abi-virtual-table",
    "Virtual function has moved to another slot",
    "Virtual calls go by slot number. Where functions were inserted, removed or reordered, "
    "another function is called, in the plugin or in TensorFlow. Functions appended behind all "
    "others, and slots that TensorFlow calls only on request, are reported as drift.",
    Verdict.UNSAFE,
    release=ALWAYS,
)
ASSERTION = RULES.add(
    "abi-assertion",
    "An assertion that is compiled into the plugin fails in this TensorFlow",
    "Up to 2.7, TensorFlow's `Unref` resets a reference count only where NDEBUG is not defined, "
    "and public builds define it. A dataset compiled without it checks the count in its "
    "destructor. Other differences in NDEBUG were never seen to matter.",
    Verdict.UNSAFE,
)
LINK_LIBRARY = RULES.add(
    "link-library",
    "A release has no library that the plugin needs",
    "Reported only by `envlock compat` and `envlock check --tensorflow`: none of the release's "
    "libraries has the name that the plugin asks for.",
    release=ALWAYS,
)
LINK_SYMBOL = RULES.add(
    "link-symbol",
    "A release does not export a symbol that the plugin needs",
    "Reported only by `envlock compat` and `envlock check --tensorflow`: the load would fail.",
    release=ALWAYS,
)
