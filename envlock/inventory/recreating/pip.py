"""requirements.txt and pylock.toml (PEP 751)."""

from __future__ import annotations

import json
import re

from ...models.errors import InputError, UsageError, printable
from ...models.versions import minor
from .plan import Item, LeftOut, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..index import IndexFile, PackageIndex

_BY_PIP = "pip install -r pylock.toml (pip 26.1 or later), "
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def comment(text: str) -> str:
    """One comment line, whatever the text holds."""
    return f"# {printable(text)}".rstrip()


def left_out_lines(left_out: Iterable[LeftOut]) -> list[str]:
    """The comments that say what is missing."""
    lines = [comment(f"  {one.what}: {one.why}") for one in left_out]
    return ["", comment("Not reproducible, left out:"), *lines] if lines else []


def requirements(plan: Plan, index: PackageIndex | None) -> tuple[str, list[LeftOut]]:
    """A requirements file; with an index, each package carries the digest of its very file."""
    if not plan.pip:
        raise UsageError(
            "there is no pip package to write into requirements.txt",
            hint="`--as conda` or `--as conda-explicit` hold conda packages",
        )
    left_out = [*plan.left_out, *_conda_left_out(plan)]
    lines = [comment(line) for line in plan.header()]
    if plan.python is not None:
        lines.append(comment(f"Python {plan.python}"))
    if not plan.minimal:
        lines.append(comment("pip install --no-deps -r FILE"))
    body, unknown = requirement_lines(plan, index)
    if unknown:
        names = ", ".join(item.name for item in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        lines.append(comment(f"without digests, because there is none for {names}{more}"))
    lines += ["", *body, *left_out_lines(left_out)]
    return "\n".join(lines) + "\n", left_out


def requirement_lines(plan: Plan, index: PackageIndex | None) -> tuple[list[str], list[Item]]:
    """The requirements, one a line; and the packages without digest, where digests were wanted.

    pip wants digests for all packages or none, so one unknown package leaves them all out.
    """
    digests: dict[str, list[str]] = {}
    unknown: list[Item] = []
    files = {} if index is None else index.find_all(plan.pip)
    for item in plan.pip:
        known = list(item.hashes)
        if item.source is None and not known:
            chosen = choose(item, files.get(item.name, []))
            known = [f"sha256:{file.sha256}" for file in chosen if file.sha256]
        digests[item.name] = known
        if not known:
            unknown.append(item)
    hashed = not unknown
    lines = []
    for item in plan.pip:
        line = f"{item.name} @ {item.source}" if item.source else f"{item.name}=={item.version}"
        if hashed:
            line += "".join(f" \\\n    --hash={digest}" for digest in digests[item.name])
        lines.append(line)
    return lines, unknown if index is not None else []


def choose(item: Item, files: list[IndexFile]) -> list[IndexFile]:
    """The wheel that was installed, told by its tags; else the source it was built from."""
    wheels = [file for file in files if file.tags]
    if item.package.tags:
        tags = set(item.package.tags)
        same = [f for f in wheels if set(f.tags) == tags and f.build == item.package.build]
        if same:
            return same[:1]
        # A tag repaired after the build: the metadata's tags are among the file name's.
        near = [f for f in wheels if tags & set(f.tags) and f.build == item.package.build]
        if near:
            return near
        sources = [file for file in files if not file.tags]
        return sources or wheels
    return files


def _conda_left_out(plan: Plan) -> list[LeftOut]:
    return [
        LeftOut(f"conda's {package.name} {package.version}", "a conda package")
        for package in plan.conda
        if not package.name.startswith("_")
    ]


# --- pylock.toml ---------------------------------------------------------------------------------


def pylock(plan: Plan, index: PackageIndex | None) -> tuple[str, list[LeftOut]]:
    """PEP 751: every package with its file's address and digest, which the index tells.

    Raises `DependencyMissing` without packaging 26, `InputError` for what PEP 751 does not allow.
    """
    try:
        from packaging.pylock import Pylock, PylockValidationError
    except ImportError:
        from ..lockfiles.base import missing

        raise missing("packaging>=26", "writing pylock.toml") from None
    if not plan.pip:
        raise UsageError(
            "there is no pip package to write into pylock.toml",
            hint="`--as conda` or `--as conda-explicit` hold conda packages",
        )
    left_out = [*plan.left_out, *_conda_left_out(plan)]
    wanted = [item for item in plan.pip if item.source is None]
    if index is None and wanted:
        packages = "1 package" if len(wanted) == 1 else f"{len(wanted)} packages"
        raise UsageError(
            f"pylock.toml needs the address and digest of {packages}, which only a package index "
            "knows",
            hint="leave out `--offline`, or use `--as pip`",
        )
    files = {} if index is None else index.find_all(wanted)
    blocks = []
    for item in plan.pip:
        block = _package(item, choose(item, files.get(item.name, [])), index)
        if block is not None:
            blocks.append(block)
            continue
        left_out.append(
            LeftOut(f"{item.name} {item.version}", "no index that was asked has this file")
        )
    table: dict[str, Any] = {"lock-version": "1.0"}
    if plan.python is not None:
        table["requires-python"] = f"=={minor(plan.python)}.*"
    table["created-by"] = "envlock"
    try:
        Pylock.from_dict({**table, "packages": blocks})
    except PylockValidationError as error:
        raise InputError(f"pylock.toml cannot hold this environment: {error!s:.300}") from None
    text = [comment(line) for line in plan.header()]
    # pip wants a digest of everything in a lock, and a checkout has none.
    by_pip = "" if any("vcs" in block for block in blocks) else _BY_PIP
    text += [comment(f"{by_pip}uv pip sync pylock.toml"), "", *_assignments(table)]
    for block in blocks:
        text += ["", "[[packages]]", *_assignments(block)]
    text += left_out_lines(left_out)
    return "\n".join(text) + "\n", left_out


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [
        f"{key if _BARE.match(key) else _toml(key)} = {_toml(value)}"
        for key, value in table.items()
    ]


def _toml(value: object) -> str:
    """A value as TOML writes it on one line, a list of tables on several."""
    if isinstance(value, dict):
        return f"{{ {', '.join(_assignments(value))} }}"
    if isinstance(value, list):
        return "".join(["[\n", *(f"    {_toml(one)},\n" for one in value), "]"])
    # A TOML basic string has JSON's escapes, DEL aside.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _package(
    item: Item, chosen: list[IndexFile], index: PackageIndex | None
) -> dict[str, Any] | None:
    """One package of a lock; None where there is no file with a digest."""
    head: dict[str, Any] = {"name": item.name}
    # PEP 751: a version must not be stated where a checkout could change it.
    version = {"version": item.version} if item.version else {}
    url = item.package.direct_url
    if item.source is not None and url is not None:
        below = {"subdirectory": url.subdirectory} if url.subdirectory else {}
        if url.kind == "vcs":
            return {
                **head,
                "vcs": {"type": url.vcs, "url": url.url, "commit-id": url.commit, **below},
            }
        if not url.hashes:
            return None
        archive = {"url": url.url, "hashes": dict(sorted(url.hashes.items())), **below}
        return {**head, **version, "archive": archive}
    usable = [file for file in chosen if file.sha256]
    if not usable or index is None:
        return None
    block = {**head, **version, "index": index.shown}
    for file in usable:
        entry = {"name": file.name, "url": file.shown_url, "hashes": {"sha256": file.sha256}}
        if file.tags:
            block.setdefault("wheels", []).append(entry)
        else:
            block.setdefault("sdist", entry)
    return block
