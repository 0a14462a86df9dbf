"""What a snapshot records, what it must not, and how it meets damaged environments."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from envlock.environment.locate import locate
from envlock.inventory.collect import snapshot
from envlock.inventory.files import parse_snapshot, read_snapshot, snapshot_text
from envlock.inventory.urls import clean_url
from envlock.inventory.variables import read_variables
from envlock.inventory.versions import direction, satisfies
from envlock.models.errors import EnvironmentUnreadable, InputError
from envlock.models.snapshot import PARTS, Problem, Snapshot
from tests.unit.inventory.packaging_world import (
    make_project,
    make_wheel,
    new_venv,
    pip_install,
    run,
    site_packages,
    uv_install,
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0", scripts=["alpha"], files={"alpha/odd, name.txt": "x"})
    make_wheel(folder, "beta", "2.0")
    return folder


@pytest.fixture
def env(wheels: Path, tmp_path: Path) -> Path:
    made = new_venv(tmp_path / "env")
    uv_install(made, "--find-links", wheels, "alpha", "beta")
    return made


def problems(env: Path, integrity: str = "quick") -> dict[str, Problem]:
    return {f"{p.kind} {p.subject}": p for p in snapshot(env, integrity=integrity).problems}


def edit(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


# --- the document --------------------------------------------------------------------------------


def test_the_same_environment_gives_the_same_bytes(env: Path) -> None:
    first = snapshot_text(snapshot(env))
    assert snapshot_text(snapshot(env)) == first
    assert str(env) not in first
    assert str(Path.home()) not in first
    assert parse_snapshot(first.encode(), "x") == snapshot(env)


def test_each_part_has_its_own_digest(env: Path, wheels: Path) -> None:
    before = snapshot(env, environ={})
    after = snapshot(env, environ={"LD_LIBRARY_PATH": "/opt/other"})
    assert changed_parts(before, after) == {"variables"}
    edit(site_packages(env) / "beta/__init__.py", b"VALUE = 1\n")
    assert changed_parts(before, snapshot(env, environ={})) == {"packages"}


def changed_parts(before: Snapshot, after: Snapshot) -> set[str]:
    assert before.fingerprint != after.fingerprint
    return {p for p in PARTS if getattr(before.digests, p) != getattr(after.digests, p)}


def test_nothing_of_the_environment_is_run(env: Path, tmp_path: Path) -> None:
    """A package that writes a file when imported, and a .pth line that does."""
    mark = tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w')"
    (site_packages(env) / "beta/__init__.py").unlink()
    (site_packages(env) / "beta/__init__.py").write_text(code)
    (site_packages(env) / "evil.pth").write_text(f"import os; {code}\n")
    (env / "bin/python3").unlink()
    (env / "bin/python3").write_text(f"#!/bin/sh\ntouch {mark}\n")
    taken = snapshot(env, integrity="full")
    assert {p.name for p in taken.packages.pip} == {"alpha", "beta"}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"[]", "is not a snapshot"),
        (b'{"format": "envlock.report/1"}', "is not a snapshot"),
        (b'{"format": "envlock.snapshot/2"}', "this envlock reads `envlock.snapshot/1`"),
        (b'{"format": "envlock.snapshot/1"}', r"\$\.generator: Field required"),
        (b'{"format": "envlock.snapshot/1", "generator": "x"}', "could not be taken"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"format": "envlock.snapshot/1", "generator": "x", "plugins": 5}', r"\$\.plugins"),
    ],
)
def test_damaged_snapshots_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_snapshot(str(path))
    assert "\n" not in caught.value.message


def test_no_environment() -> None:
    with pytest.raises(EnvironmentUnreadable):
        snapshot("/nowhere")


# --- integrity -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("installer", [pip_install, uv_install])
@pytest.mark.parametrize("integrity", ["none", "quick", "full"])
def test_an_untouched_environment_has_no_problems(
    wheels: Path, tmp_path: Path, installer: object, integrity: str
) -> None:
    made = new_venv(tmp_path / "env")
    installer(made, "--find-links", wheels, "alpha", "beta")  # type: ignore[operator]
    assert problems(made, integrity) == {}


@pytest.mark.parametrize("integrity", ["quick", "full"])
def test_edited_and_missing_files(env: Path, integrity: str) -> None:
    site = site_packages(env)
    edit(site / "alpha/__init__.py", b"__version__ = '1.0' \n")
    edit(site / "alpha/odd, name.txt", b"y")
    (site / "beta/__init__.py").unlink()
    found = problems(env, integrity)
    assert set(found) == {"modified-files alpha", "missing-files beta"}
    assert found["modified-files alpha"].paths == ("alpha/__init__.py", "alpha/odd, name.txt")
    assert found["modified-files alpha"].count == 2
    assert "--force-reinstall" in (found["modified-files alpha"].remedy or "")
    assert problems(env, "none") == {}


def paste(env: Path, command: str, wheels: Path) -> None:
    """Run a remedy in a shell that has the environment active, with an index of newer files too."""
    newer = wheels / "newer"
    if not newer.is_dir():
        newer.mkdir()
        make_wheel(newer, "alpha", "1.1")
        make_wheel(newer, "beta", "2.1")
    pip = env / "bin/pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {env}/bin/python "$@"\n')
    pip.chmod(0o755)
    more = {
        "PATH": f"{env}/bin:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{wheels} {newer}",
    }
    run("sh", "-ec", command, **more)
    pip.unlink()


@pytest.mark.slow
def test_remedies_put_back_what_was_installed(env: Path, wheels: Path) -> None:
    """Pasted as they stand; the version stays, although the index has a newer one."""
    site = site_packages(env)
    before = snapshot(env).digests.packages
    edit(site / "alpha/__init__.py", b"")
    (site / "beta/__init__.py").unlink()
    for problem in snapshot(env).problems:
        paste(env, problem.remedy or "", wheels)
    assert problems(env) == {}
    assert snapshot(env).digests.packages == before


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", bytes(range(256))])
def test_remedies_for_damaged_metadata(env: Path, wheels: Path, content: bytes) -> None:
    before = snapshot(env).digests.packages
    edit(site_packages(env) / "alpha-1.0.dist-info/METADATA", content)
    (found,) = (p for p in snapshot(env).problems if p.kind == "damaged-metadata")
    assert str(env) not in (found.remedy or "")
    paste(env, found.remedy or "", wheels)
    assert snapshot(env).digests.packages == before
    assert problems(env) == {}


@pytest.mark.slow
def test_remedies_for_leftovers_and_duplicates(env: Path, wheels: Path) -> None:
    """What pip left half removed has lost a letter of its name: nobody else's may be installed."""
    site = site_packages(env)
    before = snapshot(env).digests.packages
    shutil.copytree(site / "beta-2.0.dist-info", site / "beta-1.9.dist-info")
    metadata = site / "beta-1.9.dist-info/METADATA"
    edit(metadata, b"Metadata-Version: 2.1\nName: beta\nVersion: 1.9\n")
    (site / "alpha-1.0.dist-info").rename(site / "~lpha-1.0.dist-info")
    (site / "~eta-1.9.dist-info").mkdir()
    found = problems(env)
    named = " ".join(p.remedy or "" for p in found.values()).split()
    assert "lpha" not in {word.partition("==")[0] for word in named}
    for problem in found.values():
        paste(env, problem.remedy or "", wheels)
    assert problems(env) == {}
    assert snapshot(env).digests.packages == before


def test_two_edits_of_one_file_are_told_apart(env: Path) -> None:
    target = site_packages(env) / "beta/__init__.py"
    edit(target, b"A = 1\n")
    first = snapshot(env).digests.packages
    edit(target, b"A = 2\n")
    assert snapshot(env).digests.packages != first


def test_an_edited_script_is_seen(env: Path) -> None:
    script = env / "bin/alpha"
    edit(script, script.read_bytes() + b"# more\n")
    assert "modified-files alpha" in problems(env)


def test_touching_a_file_is_no_edit(env: Path) -> None:
    os.utime(site_packages(env) / "beta/__init__.py")
    assert problems(env) == {}


def test_a_copied_environment_is_read_in_full_and_found_whole(env: Path, tmp_path: Path) -> None:
    """All times are new there, so the quick comparison has to look at the contents."""
    copy = tmp_path / "copy"
    shutil.copytree(env, copy, symlinks=True, copy_function=shutil.copyfile)
    assert problems(copy) == {}


def test_editable_and_leftovers_and_duplicates(env: Path, tmp_path: Path) -> None:
    uv_install(env, "--editable", make_project(tmp_path / "zeta", "zeta", "7.0"))
    site = site_packages(env)
    shutil.copytree(site / "beta-2.0.dist-info", site / "beta-1.9.dist-info")
    (site / "~lpha-1.0.dist-info").mkdir()
    found = problems(env)
    assert "editable zeta" in found
    assert "duplicate-metadata beta" in found
    assert "damaged-metadata ~lpha-1.0.dist-info" in found


@pytest.mark.parametrize("name", ["METADATA", "RECORD", "WHEEL", "direct_url.json", "INSTALLER"])
@pytest.mark.parametrize("damage", ["empty", "binary", "folder", "fifo", "loop", "huge"])
def test_damaged_metadata_becomes_an_entry(env: Path, name: str, damage: str) -> None:
    place = site_packages(env) / "beta-2.0.dist-info" / name
    if place.exists():
        place.unlink()
    if damage == "empty":
        place.write_bytes(b"")
    elif damage == "binary":
        place.write_bytes(bytes(range(256)) * 20)
    elif damage == "folder":
        place.mkdir()
    elif damage == "fifo":
        os.mkfifo(place)
    elif damage == "loop":
        place.symlink_to(place)
    else:
        with open(place, "wb") as file:
            file.truncate(1 << 40)
    taken = snapshot(env, integrity="full")
    beta = next(p for p in taken.packages.pip if p.name == "beta")
    assert beta.version == "2.0"
    json.loads(snapshot_text(taken))
    if name == "METADATA":
        assert beta.problem is not None
        assert any(p.kind == "damaged-metadata" for p in taken.problems)


@pytest.mark.parametrize(
    "line",
    [
        "../../../../../../../../../../etc/passwd,sha256=AAAA,5",
        "/etc/passwd,sha256=AAAA,5",
        "/dev/zero,sha256=AAAA,5",
        "alpha\0x,sha256=AAAA,5",
        '"unclosed,sha256=AAAA,5',
        "alpha/__init__.py,md5=AAAA,5",
        "alpha/__init__.py,sha256,5",
        "alpha/__init__.py,sha256=AAAA,99999999999999999999999999",
        ",,,,,",
        "\ud800",
    ],
)
def test_hostile_records(env: Path, line: str) -> None:
    """Files outside are compared, never copied into the document; nothing hangs."""
    record = site_packages(env) / "beta-2.0.dist-info/RECORD"
    record.write_bytes(record.read_bytes() + line.encode("utf-8", "surrogatepass") + b"\n")
    for integrity in ("quick", "full"):
        text = snapshot_text(snapshot(env, integrity=integrity))
        assert "root:" not in text
        json.loads(text.encode())


# --- secrets -------------------------------------------------------------------------------------


def test_secrets_in_variables_are_never_recorded(env: Path) -> None:
    secret = "hunter2hunter2hunter2hunter2hunter2"
    environ = {
        "TF_VAR_password": secret,
        "TF_TOKEN_app_terraform_io": secret,
        "TF_CONFIG": json.dumps({"cluster": {"worker": [secret]}}),
        "TF_SOMETHING_NEW": secret,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_XLA_FLAGS": f"--tf_xla_key={secret}{secret}",
        "TF_GPU_ALLOCATOR": f"cuda {secret}",
        "CUDA_API_TOKEN": secret,
        "CUDA_VISIBLE_DEVICES": "0,1",
        "AWS_SECRET_ACCESS_KEY": secret,
        "LD_LIBRARY_PATH": f"/home/{secret}/lib:/usr/lib",
        "PYTHONPATH": f"/home/{secret}/src",
        "LD_PRELOAD": f"/home/{secret}/libx.so libtcmalloc.so.4",
        "GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=2048",
    }
    found = read_variables(locate(env), environ)
    assert secret not in repr(found)
    values = {variable.name: variable for variable in found}
    assert values["TF_CPP_MIN_LOG_LEVEL"].value == "2"
    assert values["CUDA_VISIBLE_DEVICES"].value == "0,1"
    assert values["GLIBC_TUNABLES"].value == "glibc.rtld.optional_static_tls=2048"
    assert values["TF_CONFIG"].value is None
    assert values["CUDA_API_TOKEN"].value is None
    assert not any(name.startswith(("TF_VAR", "TF_TOKEN", "AWS")) for name in values)
    places = [entry.where for entry in values["LD_LIBRARY_PATH"].entries]
    assert places == ["{elsewhere}/lib", "/usr/lib"]
    preload = [entry.where for entry in values["LD_PRELOAD"].entries]
    assert preload == ["{elsewhere}/libx.so", "libtcmalloc.so.4"]


def test_what_a_path_holds_is_what_matters(env: Path, tmp_path: Path) -> None:
    folder = tmp_path / "libs"
    folder.mkdir()
    for name in ("libstdc++.so.6", "libcudart.so.12", "libother.so", "readme"):
        (folder / name).touch()
    paths = locate(env)
    environ = {"LD_LIBRARY_PATH": f"{folder}:{env}/lib:/not/there"}
    entries = read_variables(paths, environ)[0].entries
    assert [e.where for e in entries] == ["{elsewhere}/libs", "{prefix}/lib", "{elsewhere}/there"]
    assert entries[0].holds == ("libcudart.so.12", "libstdc++.so.6")
    assert [e.missing for e in entries] == [False, False, True]


def test_equal_variables_on_two_machines(env: Path, tmp_path: Path) -> None:
    other = new_venv(tmp_path / "second")
    one = read_variables(locate(env), {"LD_LIBRARY_PATH": f"{env}/lib"})
    two = read_variables(locate(other), {"LD_LIBRARY_PATH": f"{other}/lib"})
    assert one == two


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://u:p@host/x.whl?sig=s#sha256=a", "https://host/x.whl"),
        ("https://tok@host/a@b/x", "https://host/a@b/x"),
        ("git+https://tok@host/r.git", "git+https://host/r.git"),
        ("ssh://git@host/r.git", "ssh://git@host/r.git"),
        ("ssh://me:pw@host/r.git", "ssh://host/r.git"),
        ("https://host/t/tk-123/chan/x.conda", "https://host/chan/x.conda"),
        ("file:///home/me/x-1.whl", "file:x-1.whl"),
        ("file:///home/me/src/", "file:src"),
        ("git+file:///home/me/repo", "file:repo"),
        ("/home/me/x.whl", "file:x.whl"),
        ("https://a@b@host/x", "https://host/x"),
    ],
)
def test_urls_lose_their_secrets(url: str, clean: str) -> None:
    assert clean_url(url) == clean


# --- versions ------------------------------------------------------------------------------------


def test_versions_are_ordered_as_packaging_orders_them() -> None:
    texts = (
        "0.9 1.0.dev1 1.0a1 1.0a2 1.0b1 1.0rc1 1.0rc2 1.0 1.0.post1 1.0.1 1.1.dev3 1.1 1.10 2!0.1"
    )
    versions = texts.split()
    for older, newer in zip(versions, versions[1:]):
        assert direction(older, newer) == "upgraded"
        assert direction(newer, older) == "downgraded"
    assert direction("1.0", "1.0.0") == "changed"
    assert direction("2.15.1", "2.9.0") == "downgraded"
    assert direction("1.0+cpu", "1.0+cu12") == "upgraded"
    # What conda's packages have, and no order of PEP 440.
    assert direction("1.1.1w", "3.0.8") == "upgraded"
    assert direction("9e", "9d") == "changed"
    assert direction("9" * 5000, "1") == "downgraded"


@pytest.mark.parametrize(
    ("manager", "version", "constraint", "fits"),
    [
        ("pip", "1.5", ">=1,<2", True),
        ("pip", "2.0", ">=1,<2", False),
        ("pip", "1.0rc1", "<2", True),
        ("conda", "1.26.4", "1.26.*", True),
        ("conda", "1.2", "1.26.*", False),
        ("conda", "1.260", "1.26.*", False),
        ("conda", "1.1.1w", ">=1.1.1u,<3", True),
        ("conda", "3.0", "<2|>=3", True),
        ("conda", "2.5", "<2|>=3", False),
        ("pip", "1.0", "nonsense", True),
        ("conda", "no version", ">=1", True),
        ("conda", "1.0", "==", True),
    ],
)
def test_constraints(manager: str, version: str, constraint: str, fits: bool) -> None:
    assert satisfies(manager, version, constraint) is fits
