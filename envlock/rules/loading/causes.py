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
    from .case import Cause, EnvironmentFacts


def all_causes() -> tuple[Cause, ...]:
    """Every cause, in the order in which they look at a case."""
    from .file_causes import FILE_CAUSES, LAST_RESORT
    from .library_causes import LIBRARY_CAUSES
    from .symbol_causes import SYMBOL_CAUSES

    return (*FILE_CAUSES, *LIBRARY_CAUSES, *SYMBOL_CAUSES, LAST_RESORT)


def explain(
    prediction: Prediction,
    plugin: PluginIdentity,
    environment: EnvironmentFacts,
    recorded: TensorFlowFacts | None = None,
) -> tuple[Finding, ...]:
    """One finding for each cause that a prediction shows; none when dlopen would succeed.

    `recorded` is the TensorFlow that the plugin's manifest names, if it has one.

    Raises nothing of its own; unreadable facts are left out of the text.
    """
    if prediction.unremarkable:
        return ()
    from .case import Case

    case = Case(prediction, plugin, environment, recorded)
    for cause in all_causes():
        finding = cause.applies(case)
        if finding is not None:
            case.findings.append(finding)
    return tuple(case.findings)
