"""Rules about what surrounds TensorFlow: libraries, C and C++ run time, Python, numpy."""

from __future__ import annotations

from ...models.report import Unchecked
from ...models.verdict import Verdict
from ...models.versions import minor, of_glibc, order
from ..base import Rules
from ..comparison import Comparison

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..base import Answer

RULES = Rules("runtime")

_LIBC, _LIBSTDCXX = "libc.so.6", "libstdc++.so.6"


@RULES.rule(
    "glibc-older",
    "An older C library",
    "The machine's glibc is older than the build's. Whether a needed symbol version is missing "
    "is decided exactly by the linker rules.",
    Verdict.DRIFTED,
    changes=("glibc",),
)
def glibc_older(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None:
        return
    built, live = c.manifest.platform.libc_version, c.live.libc_version
    if built is None or live is None:
        yield Unchecked(what="C library", why="its version is not known on both sides")
    elif order(live) < order(built) and not c.refused:
        yield glibc_older.finding(
            subject="glibc",
            built=built,
            live=live,
            message=f"built on glibc {built}, this machine has the older {live}",
            why="every symbol version that the plugin needs is there, so this alone breaks nothing",
        )


@RULES.rule(
    "libstdcxx-older",
    "An older libstdc++",
    "The libstdc++ that will be found (often conda's) is older than the build's. Whether a "
    "needed symbol version is missing is decided exactly by the linker rules.",
    Verdict.DRIFTED,
    changes=("libstdc++",),
)
def libstdcxx_older(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None:
        return
    built, live = c.manifest.platform.libstdcxx, c.live.libstdcxx
    if built is None and _LIBSTDCXX not in c.plugin.needed:
        return
    if live is None or live.glibcxx is None or built is None or built.glibcxx is None:
        yield Unchecked(what="libstdc++", why="its version is not known on both sides")
    elif order(live.glibcxx) < order(built.glibcxx) and not c.refused:
        yield libstdcxx_older.finding(
            subject="libstdc++",
            built=f"GLIBCXX_{built.glibcxx}",
            live=f"GLIBCXX_{live.glibcxx}",
            message=(
                f"the libstdc++ found here goes up to GLIBCXX_{live.glibcxx}, "
                f"but the build's went up to GLIBCXX_{built.glibcxx}"
            ),
            why="every symbol version that the plugin needs is there, so this alone breaks nothing",
        )


@RULES.rule(
    "library-version",
    "Another version of a linked library",
    "A library of the plugin's closure changed under the same soname: its version, or where "
    "that is the same or not known, its build-id.",
    Verdict.DRIFTED,
    changes=(
        "finding",
        "library",
    ),
)
def library_version(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.refused or not c.live.closure_known:
        return
    glibc_is_older = order(c.live.libc_version) < order(c.manifest.platform.libc_version)
    for library in c.manifest.libraries:
        name = library.soname
        # TensorFlow's own have rules of their own, and glibc's come together.
        if name.startswith(("libtensorflow", "_pywrap_tensorflow")):
            continue
        if of_glibc(name) and (name != _LIBC or glibc_is_older):
            continue
        now = c.live.library(name)
        if now is None:
            yield Unchecked(
                what=f"`{name}`",
                why="the plugin needed it when it was built, directly or not; here it does not",
            )
            continue
        if library.build_id and library.build_id == now.build_id:
            continue
        before, after = library.version, now.version
        build_ids = library.build_id and now.build_id
        if before and after and (before != after or not build_ids):
            if before == after:
                continue
            message = f"`{name}` is {after} here, {before} at build time"
        elif library.build_id and now.build_id:
            build = f"build of {after}" if before and before == after else "build"
            before = f"build-id {library.build_id[:12]}"
            after = f"build-id {now.build_id[:12]}"
            message = f"`{name}` is another {build} here: {after}, {before} at build time"
        else:
            yield Unchecked(
                what=f"`{name}`", why="neither its version nor its build-id is known on both sides"
            )
            continue
        yield library_version.finding(
            subject=name,
            built=before,
            live=after,
            message=message,
            why="the same soname promises the same binary interface, so this alone breaks nothing",
        )


@RULES.rule(
    "python-version",
    "Another Python",
    "TensorFlow ops do not use Python's binary interface; the change shows that the "
    "environment was rebuilt.",
    Verdict.DRIFTED,
    changes=("Python",),
)
def python_version(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None:
        return
    built, live = c.manifest.python, c.live.python
    if live is None:
        return
    other_soabi = None not in (built.soabi, live.soabi) and built.soabi != live.soabi
    if minor(built.version) != minor(live.version) or other_soabi:
        yield python_version.finding(
            subject="Python",
            built=f"{built.version} ({built.soabi})" if built.soabi else built.version,
            live=f"{live.version} ({live.soabi})" if live.soabi else live.version,
            message=f"built beside Python {built.version}, this environment has {live.version}",
            why="TensorFlow ops do not use Python's binary interface, so this alone breaks nothing",
        )


@RULES.rule(
    "numpy-abi",
    "Another numpy",
    "A plugin that uses numpy's C API depends on its ABI number (numpy 1 and 2 differ) and on "
    "a C-API level at least as high as the one it was built with.",
    Verdict.UNSAFE,
    changes=("numpy",),
)
def numpy_abi(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None:
        return
    built, live = c.manifest.numpy, c.live.numpy
    unsure = c.uses_numpy_api is None
    uses = unsure or c.uses_numpy_api
    if built is None:
        if uses:
            yield Unchecked(
                what="numpy", why="the manifest does not say with which one the plugin was built"
            )
        return
    if live is None:
        if unsure:
            yield _perhaps_broken(built.version, "none")
        elif uses:
            yield numpy_abi.finding(
                subject="numpy",
                built=built.version,
                live=None,
                message=f"uses numpy's C API of {built.version}, and numpy is not installed here",
                why="the plugin fetches numpy's function table when it starts to use it",
                remedy=_installing(c, built.version),
            )
        else:
            yield Unchecked(
                what="numpy", why=f"built beside numpy {built.version}, none was found here"
            )
        return
    if built.version == live.version:
        return
    abi_changed = built.abi != live.abi and None not in (built.abi, live.abi)
    too_old = built.c_api is not None and live.c_api is not None and live.c_api < built.c_api
    # numpy 2's headers build modules that run on 1.x too; the other direction does not work.
    breaks = too_old or (abi_changed and order(live.version) >= (2,))
    known = None not in (built.abi, live.abi, built.c_api, live.c_api)
    if unsure and breaks:
        yield _perhaps_broken(built.version, live.version)
    dangerous = breaks and c.uses_numpy_api
    yield numpy_abi.finding(
        verdict=Verdict.UNSAFE if dangerous else Verdict.DRIFTED,
        subject="numpy",
        built=built.version,
        live=live.version,
        message=f"built beside numpy {built.version}, this environment has {live.version}",
        why=(
            "the plugin does not use numpy's C API, so this alone breaks nothing"
            if not uses
            else "whether that breaks it is not known without the plugin's file"
            if unsure and breaks
            else "numpy's C API is compatible between the two, should the plugin use it"
            if unsure
            else "the plugin uses numpy's C API, and the two have different binary interfaces"
            if dangerous
            else "the plugin uses numpy's C API, which is compatible between the two"
            if known
            else "the plugin uses numpy's C API"
        ),
        remedy=_installing(c, built.version) if dangerous else None,
    )
    if uses and not breaks and not known:
        yield Unchecked(what="numpy's C API", why="its level is not known on both sides")


def _installing(c: Comparison, version: str) -> str:
    return c.live.place.install("numpy", f"=={version}")


def _perhaps_broken(built: str, live: str) -> Unchecked:
    return Unchecked(
        what="numpy's C API",
        why=f"that of {built} does not work with the numpy here ({live}), and only the plugin's "
        "file, which is not at hand, shows whether it uses it",
    )
