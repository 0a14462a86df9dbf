"""All readers that are fuzzed, by name."""

from __future__ import annotations

from tests.campaigns.fuzz import document_targets, elf_targets, environment_targets, trust_targets
from tests.campaigns.fuzz.guard import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (elf_targets, document_targets, environment_targets, trust_targets)
    for target in module.TARGETS
}
