"""Random graphs of small libraries: whatever they look like, dlopen and the prediction agree."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from tests.unit.linker.workshop import Workshop

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c", "d")
FOLDERS = ("one", "two")
SYMBOLS = ("s1", "s2", "s3", "s4")


@dataclass(frozen=True)
class Lib:
    """One library: what it defines and uses, what it needs, where it says to look."""

    defines: frozenset[str]
    uses: frozenset[str]
    weak: frozenset[str]
    hidden: frozenset[str]
    needs: tuple[str, ...]
    folders: frozenset[str]
    """Where its file is: in none it is missing, in two it is there twice."""
    path_kind: str
    path: tuple[str, ...]
    version: str | None
    newer: bool
    """Rebuilt, after the others were linked, with another version."""
    symbolic: bool


symbols = st.frozensets(st.sampled_from(SYMBOLS), max_size=3)
libraries = st.builds(
    Lib,
    defines=symbols,
    uses=symbols,
    weak=symbols,
    hidden=st.frozensets(st.sampled_from(SYMBOLS), max_size=1),
    needs=st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple),
    folders=st.sampled_from(
        [frozenset({"one"}), frozenset({"two"}), frozenset(FOLDERS), frozenset()]
        + [frozenset({"one"})] * 4
    ),
    path_kind=st.sampled_from(["rpath", "runpath", "none"]),
    path=st.lists(
        st.sampled_from(["$ORIGIN/../one", "$ORIGIN/../two", "$ORIGIN", "/nowhere", ""]),
        min_size=1,
        max_size=3,
        unique=True,
    ).map(tuple),
    version=st.sampled_from([None, None, "V1", "V2"]),
    newer=st.booleans(),
    symbolic=st.booleans(),
)
graphs = st.fixed_dictionaries(dict.fromkeys(NAMES, libraries))
plans = st.fixed_dictionaries(
    {
        "library_path": st.sampled_from(["", "one", "two", "two:one"]),
        "before": st.lists(
            st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=2, unique=True
        ),
        "program_rpath": st.sampled_from(["", "one", "two"]),
    }
)


def source_of(name: str, lib: Lib) -> str:
    """C for what a library defines and uses."""
    lines = []
    for symbol in sorted(lib.defines):
        attribute = '__attribute__((visibility("hidden"))) ' if symbol in lib.hidden else ""
        lines.append(f"{attribute}int {symbol}(void) {{ return 1; }}")
    for symbol in sorted(lib.uses - lib.defines):
        weak = " __attribute__((weak))" if symbol in lib.weak else ""
        lines.append(f"int {symbol}(void){weak};")
        lines.append(f"void *use_{symbol}_{name}(void) {{ return {symbol}; }}")
    return "\n".join(lines) or "int nothing_;"


def script_of(lib: Lib, version: str | None) -> str | None:
    """A version script that puts all defined symbols in one version."""
    visible = sorted(lib.defines - lib.hidden)
    if version is None or not visible:
        return None
    return f"{version} {{ global: {'; '.join(visible)}; }};"


class Linker:
    """Compiles each source once and links with ld alone, which keeps hundreds of builds quick."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[str, Path] = {}

    def compile(self, source: str) -> Path:
        if source not in self.objects:
            target = self.folder / f"{len(self.objects)}.o"
            command = ["gcc", "-w", "-O0", "-fPIC", "-c", "-x", "c", "-", "-o", str(target)]
            subprocess.run(command, input=source, text=True, check=True)
            self.objects[source] = target
        return self.objects[source]

    def link(self, target: Path, source: str, soname: str, *arguments: str) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        command = ["ld", "-shared", "--hash-style=gnu", "--allow-shlib-undefined", "-z", "now"]
        command += [f"-soname={soname}", *arguments, "-o", str(target)]
        command.insert(2, str(self.compile(source)))
        subprocess.run(command, check=True)
        return target


@pytest.fixture(scope="module")
def linker(tmp_path_factory: pytest.TempPathFactory) -> Linker:
    """One store of compiled objects for all examples."""
    return Linker(tmp_path_factory.mktemp("objects"))


def versioned(shop: Workshop, label: str, script: str | None) -> list[str]:
    """The linker option for a version script."""
    if script is None:
        return []
    path = shop.path(f"{label}.map")
    path.write_text(script)
    return [f"--version-script={path}"]


def build(shop: Workshop, linker: Linker, graph: dict[str, Lib], plan: dict[str, object]) -> Path:
    """Build the graph; the library `a` is the plugin."""
    stubs = {
        name: linker.link(
            shop.folder / f"stub/lib{name}.so",
            source_of(name, lib),
            f"lib{name}.so",
            *versioned(shop, f"stub-{name}", script_of(lib, lib.version)),
        )
        for name, lib in graph.items()
    }
    for name, lib in graph.items():
        version = "V3" if lib.newer and lib.version else lib.version
        options = versioned(shop, name, script_of(lib, version))
        options += [str(stubs[needed]) for needed in lib.needs if needed != name]
        if lib.path_kind != "none":
            kind = "--disable-new-dtags" if lib.path_kind == "rpath" else "--enable-new-dtags"
            options += [kind, "-rpath", ":".join(lib.path)]
        if lib.symbolic:
            options.append("-Bsymbolic")
        for folder in sorted(lib.folders | ({"one"} if name == "a" else frozenset())):
            target = shop.folder / folder / f"lib{name}.so"
            linker.link(target, source_of(name, lib), f"lib{name}.so", *options)
    rpath = plan["program_rpath"]
    shop.host(*([f"-Wl,--disable-new-dtags,-rpath,$ORIGIN/{rpath}"] if rpath else []))
    library_path = str(plan["library_path"])
    if library_path:
        shop.env["LD_LIBRARY_PATH"] = ":".join(
            str(shop.folder / part) for part in library_path.split(":")
        )
    return shop.folder / "one/liba.so"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(graph=graphs, plan=plans)
def test_random_graphs(linker: Linker, graph: dict[str, Lib], plan: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder).resolve())
        plugin = build(shop, linker, graph, plan)
        for name, make_global in plan["before"]:  # type: ignore[attr-defined]
            path = shop.folder / f"one/lib{name}.so"
            # Only what really loads can have been loaded before.
            if name != "a" and path.exists() and shop.judge(path).outcome == "ok":
                shop.before(path, make_global=make_global)
        prediction = shop.agree(plugin)
        event(f"{prediction.outcome} {prediction.reason or ''}")
        note(repr(prediction))
