"""requirements.txt and pylock.toml (PEP 751)."""

from __future__ import annotations

import json

from ...models.errors import UsageError, printable
from ...models.versions import minor
from .plan import Item, LeftOut, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..index import IndexFile, PackageIndex


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
    """PEP 751: every package with its file's address and digest, which the index tells."""
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
        if item.source is not None:
            block = _from_source(item)
        else:
            block = _from_index(item, choose(item, files.get(item.name, [])), index)
        if block is None:
            left_out.append(
                LeftOut(f"{item.name} {item.version}", "no index that was asked has this file")
            )
        else:
            blocks.append(block)
    lines = [comment(line) for line in plan.header()]
    lines += ["", 'lock-version = "1.0"', 'created-by = "envlock"']
    if plan.python is not None:
        lines.insert(-1, f'requires-python = "=={minor(plan.python)}.*"')
    for block in blocks:
        lines += ["", "[[packages]]", *block]
    lines += left_out_lines(left_out)
    return "\n".join(lines) + "\n", left_out


def _quoted(text: str) -> str:
    # A TOML basic string has JSON's escapes, DEL aside.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _from_index(
    item: Item, chosen: list[IndexFile], index: PackageIndex | None
) -> list[str] | None:
    usable = [file for file in chosen if file.sha256]
    if not usable or index is None:
        return None
    lines = [f"name = {_quoted(item.name)}", f"version = {_quoted(item.version)}"]
    lines.append(f"index = {_quoted(index.shown)}")
    wheels = [file for file in usable if file.tags]
    lines += [f"sdist = {_file(file)}" for file in usable if not file.tags][:1]
    if wheels:
        lines += ["wheels = [", *(f"    {_file(file)}," for file in wheels), "]"]
    return lines


def _file(file: IndexFile) -> str:
    name, url = _quoted(file.name), _quoted(file.shown_url)
    return f'{{ name = {name}, url = {url}, hashes = {{ sha256 = "{file.sha256}" }} }}'


def _from_source(item: Item) -> list[str] | None:
    url = item.package.direct_url
    assert url is not None
    assert url.url is not None
    lines = [f"name = {_quoted(item.name)}"]
    if url.kind == "vcs":
        fields = [f"type = {_quoted(url.vcs or '')}", f"url = {_quoted(url.url)}"]
        fields.append(f"commit-id = {_quoted(url.commit or '')}")
        if url.subdirectory:
            fields.append(f"subdirectory = {_quoted(url.subdirectory)}")
        # PEP 751: a version must not be stated where the checkout could change it.
        return [*lines, f"vcs = {{ {', '.join(fields)} }}"]
    if not url.hashes:
        return None
    hashes = ", ".join(f"{name} = {_quoted(value)}" for name, value in sorted(url.hashes.items()))
    fields = [f"url = {_quoted(url.url)}", f"hashes = {{ {hashes} }}"]
    if url.subdirectory:
        fields.append(f"subdirectory = {_quoted(url.subdirectory)}")
    lines.append(f"version = {_quoted(item.version)}")
    return [*lines, f"archive = {{ {', '.join(fields)} }}"]
