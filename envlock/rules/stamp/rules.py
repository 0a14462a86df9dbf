"""Rules about the stamp: does the manifest describe this file."""

from __future__ import annotations

import os

from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from ..base import Rules
from ..comparison import Comparison

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..base import Answer

RULES = Rules("stamp")
#: What a policy requires; `missing_stamp` makes the finding.
DEMANDS = Rules("stamp")


@RULES.rule(
    "stamp-mismatch",
    "The manifest belongs to another file",
    "A manifest that was copied from another plugin, or a plugin that was relinked after it "
    "was stamped, says nothing about the code at hand.",
    Verdict.UNSAFE,
    changes=("plugin",),
    environment=False,
)
def stamp_mismatch(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.plugin is None:
        return
    stamped, found = c.manifest.plugin, c.plugin
    for label, before, now in (
        ("machine", stamped.machine, found.machine),
        ("build-id", stamped.build_id, found.build_id),
        ("code digest", _digest(stamped.code), _digest(found.code)),
    ):
        if before is not None and now is not None and before != now:
            yield stamp_mismatch.finding(
                subject=c.plugin.name,
                built=before,
                live=now,
                message=(
                    f"the manifest describes another file: its {label} is {before}, this one's {now}"
                ),
                why="what it says about the build is not known to be true of this plugin",
                remedy=_stamping(c.path),
            )
            return
    by_build_id = None not in (stamped.build_id, found.build_id)
    if not by_build_id and (stamped.code is None or found.code is None):
        yield Unchecked(
            what="that the manifest describes this file",
            why="it has no build-id to compare, and its code digest was not compared",
        )


def _stamping(path: str) -> str:
    from shlex import quote

    return f"envlock stamp {quote(path)} --env BUILD_ENVIRONMENT"


def _digest(code: object) -> str | None:
    return getattr(code, "value", None)


@RULES.rule(
    "stamp-forced",
    "Stamped by force",
    "`envlock stamp --force` recorded an environment that could not load the plugin.",
    Verdict.DRIFTED,
    changes=("plugin",),
    environment=False,
)
def stamp_forced(c: Comparison) -> Iterator[Answer]:
    if c.manifest is not None and c.manifest.forced:
        yield stamp_forced.finding(
            subject=c.plugin.name,
            message="it was stamped with `--force` in an environment that could not load it",
            why="the recorded build environment may not be the one that it was compiled in",
            remedy=_stamping(c.path),
        )


MISSING = DEMANDS.add(
    "stamp-missing",
    "The policy requires a stamp; the plugin has none",
    "Reported only under a policy with `require_stamp`. What the plugin was built with is then not "
    "recorded anywhere, and was only worked out from its binary.",
    Verdict.UNSAFE,
)


def missing_stamp(path: str) -> Finding:
    """The finding on an unstamped plugin under a policy that requires a stamp."""
    return MISSING.finding(
        subject=os.path.basename(path),
        message="the policy requires a stamp (`require_stamp`); the plugin has none",
        why="without a stamp it is not recorded what it was built with",
        remedy=_stamping(path),
    )
