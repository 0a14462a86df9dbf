"""environment.yml and conda's explicit list."""

from __future__ import annotations

import json
import re

from ...models.errors import UsageError
from .pip import comment, left_out_lines
from .plan import LeftOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...models.snapshot import CondaPackage
    from .plan import Plan

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./=<>+-]*\Z")
_PUBLIC = re.compile(r"https://conda\.anaconda\.org/([A-Za-z0-9_.-]+)\Z")


def _scalar(text: str) -> str:
    # Every JSON string is a YAML string; plain ones read better.
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=True)


def channel_of(package: CondaPackage) -> str | None:
    """The channel to install a package from: a name where that is enough, else its address."""
    if package.url is not None:
        base = package.url.rpartition("/")[0]
        if package.subdir and base.endswith(f"/{package.subdir}"):
            base = base[: -len(package.subdir) - 1]
        public = _PUBLIC.match(base)
        return public[1] if public else base
    return package.channel


def environment(plan: Plan) -> tuple[str, list[LeftOut]]:
    """environment.yml: conda packages by version and build, pip's in its `pip:` list."""
    left_out = list(plan.left_out)
    channels: dict[str, None] = {}
    for package in plan.conda:
        channel = channel_of(package)
        if channel is not None:
            channels[channel] = None
    lines = [comment(line) for line in plan.header()]
    lines.append(comment("conda env create --name NAME --file FILE"))
    lines += ["", "channels:"]
    lines += [f"  - {_scalar(channel)}" for channel in channels or {"conda-forge": None}]
    if channels:
        lines.append("  - nodefaults")
    lines.append("dependencies:")
    names = {package.name for package in plan.conda}
    if "python" not in names and plan.python is not None and (plan.pip or not plan.minimal):
        lines.append(f"  - python={plan.python}")
    for package in plan.conda:
        # In a minimal file the solver chooses the build that fits the rest.
        build = f"={package.build}" if package.build and not plan.minimal else ""
        lines.append(f"  - {_scalar(f'{package.name}={package.version}{build}')}")
    if plan.pip:
        if "pip" not in names:
            lines.append("  - pip")
        lines.append("  - pip:")
        for item in plan.pip:
            exact = (
                f"{item.name} @ {item.source}" if item.source else f"{item.name}=={item.version}"
            )
            lines.append(f"      - {_scalar(exact)}")
    lines += left_out_lines(left_out)
    return "\n".join(lines) + "\n", left_out


def explicit(plan: Plan) -> tuple[str, list[LeftOut]]:
    """`conda list --explicit`: the very archives, with their digests."""
    if not plan.conda:
        raise UsageError(
            "there is no conda package to write into an explicit list",
            hint="`--as pip`, `--as pylock` and `--as conda` hold pip packages",
        )
    left_out = list(plan.left_out)
    urls = []
    platforms: dict[str, None] = {}
    for package in plan.conda:
        if package.url is None:
            left_out.append(
                LeftOut(f"{package.name} {package.version}", "its record has no address")
            )
            continue
        if package.subdir and package.subdir != "noarch":
            platforms[package.subdir] = None
        digest = f"#sha256:{package.sha256}" if package.sha256 else ""
        if not digest and package.md5:
            digest = f"#{package.md5}"
        urls.append(package.url + digest)
    left_out += [
        LeftOut(f"{item.name} {item.version}", "a pip package; `--as conda` holds both")
        for item in plan.pip
    ]
    lines = [comment(line) for line in plan.header()]
    lines.append(comment("conda create --name NAME --file FILE"))
    if platforms:
        lines.append(comment(f"platform: {next(iter(platforms))}"))
    lines += left_out_lines(left_out)
    lines += ["@EXPLICIT", *urls]
    return "\n".join(lines) + "\n", left_out
