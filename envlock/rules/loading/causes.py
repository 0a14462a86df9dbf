"""Causes, not symptoms: why dlopen refuses, one finding a cause, with what to do about it.

Each cause is a function of a `Case` that takes the problems it explains; the list is in the order
in which they get to see them, so that the most specific explanation wins and each problem is
explained once. Their modules are imported when there is something to explain.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linker.prediction import Prediction
    from ...models.manifest import PluginIdentity, TensorFlowFacts
    from ...models.report import Finding
    from ..base import Rule
    from .case import EnvironmentFacts


def all_causes() -> tuple[Rule, ...]:
    """Every cause, in the order in which they look at a case."""
    from . import file_causes, library_causes, symbol_causes

    return (
        *file_causes.RULES,
        *library_causes.RULES,
        *symbol_causes.RULES,
        *file_causes.LAST,
    )


def c_library_causes() -> tuple[Rule, ...]:
    """Those that look at nothing but the plugin's file and glibc."""
    from . import file_causes, library_causes

    return (*file_causes.RULES, library_causes.glibc_too_old, *file_causes.LAST)


def explain(
    prediction: Prediction,
    plugin: PluginIdentity,
    environment: EnvironmentFacts | None,
    recorded: TensorFlowFacts | None = None,
) -> tuple[Finding, ...]:
    """One finding for each cause that a prediction shows; none when dlopen would succeed.

    `environment` is None where a release of the C library was asked about alone.
    `recorded` is the TensorFlow that the plugin's manifest names, if it has one.

    Raises nothing of its own; unreadable facts are left out of the text.
    """
    if prediction.unremarkable:
        return ()
    from .case import Case

    case = Case(prediction, plugin, environment, recorded)
    for cause in all_causes() if environment is not None else c_library_causes():
        finding: Finding | None = cause(case)
        if finding is not None:
            case.findings.append(finding)
    return tuple(case.findings)
