"""`stamp --sign`, `check --trust`, `show`, policies and `envlock.load`, on a real TensorFlow plugin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import envlock
from envlock.plugin.signature.keys import fingerprint
from tests.support.building import build
from tests.support.elves import run
from tests.support.environments import QUIET, TfEnvironment, clean_environ
from tests.unit.plugin.signature.conftest import Signer

CHECKOUT = Path(__file__).resolve().parents[4]
ZERO_OUT = CHECKOUT / "examples" / "zero_out" / "zero_out.cc"
RELEASE = "2.15.1"


def command(
    *arguments: object, status: int = 0, **environ: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        cwd=CHECKOUT,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def valid(text: str, name: str) -> Any:
    document = json.loads(text)
    schema = json.loads((CHECKOUT / "schemas" / f"{name}-v1.schema.json").read_text())
    jsonschema.validate(document, schema)
    return document


@pytest.fixture(scope="module")
def env(tf_env: Callable[[str], TfEnvironment]) -> TfEnvironment:
    return tf_env(RELEASE)


@pytest.fixture(scope="module")
def signed(env: TfEnvironment, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plugin = tmp_path_factory.mktemp("signed") / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env), plugin)
    done = command("stamp", plugin, "--env", env.prefix, "--sign", signer.private)
    assert f"signed by {name_of(signer)}" in done.stdout
    return plugin


@pytest.fixture
def plugin(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(signed, tmp_path / "zero_out.so"))


def name_of(signer: Signer) -> str:
    (key,) = signer.verifier.keys
    return fingerprint(key)


def rules(report: Any) -> list[str]:
    (one,) = report["reports"]
    return [f["rule"] for f in one["findings"]]


def test_a_signed_plugin_is_trusted_and_named(
    plugin: Path, signer: Signer, env: TfEnvironment, tmp_path: Path
) -> None:
    done = command(
        *("check", plugin, "--env", env.prefix, "--trust", signer.public, "--format", "json")
    )
    document = valid(done.stdout, "report")
    (report,) = document["reports"]
    assert report["verdict"] == "compatible"
    assert report["plugin"]["signed_by"] == name_of(signer)
    text = command("check", plugin, "--env", env.prefix, "--trust", signer.public).stdout
    assert text.splitlines()[1] == f"  signed by {name_of(signer)}"
    untold = valid(
        command("check", plugin, "--env", env.prefix, "--format", "json").stdout, "report"
    )
    assert untold["reports"][0]["plugin"]["signed_by"] is None
    shown = valid(command("show", plugin, "--format", "json").stdout, "show")
    assert shown["signed_by"] == name_of(signer)
    assert "not verified" in command("show", plugin).stdout
    # Against a release that is not installed the demand is the same.
    keys = ("--tensorflow", RELEASE, "--trust")
    told = command("check", plugin, *keys, signer.public).stdout
    assert "signature" not in told
    assert told.splitlines()[1] == f"  signed by {name_of(signer)}"
    done = command("check", plugin, *keys, signer.public, "--format", "json")
    (report,) = valid(done.stdout, "report")["reports"]
    assert report["plugin"]["signed_by"] == name_of(signer)
    other = Signer(tmp_path, "openssl")
    done = command("check", plugin, *keys, other.public, "--format", "json", status=1)
    (report,) = valid(done.stdout, "report")["reports"]
    assert report["plugin"]["signed_by"] is None
    assert [f["rule"] for f in report["findings"]] == ["signature-untrusted"]


def test_fail_on_does_not_soften_the_demand(
    plugin: Path, signer: Signer, env: TfEnvironment
) -> None:
    content = bytearray(plugin.read_bytes())
    with envlock.binary.elf.ElfFile.open(plugin) as elf:
        text = elf.section(".text")
        assert text is not None
        content[text.offset + text.size // 2] ^= 1
    plugin.write_bytes(content)
    for more in (("--fail-on", "never"), ("--policy", "lenient"), ("--fail-on", "incompatible")):
        done = command(
            *("check", plugin, "--env", env.prefix, "--trust", signer.public, *more), status=1
        )
        assert "unsafe[signature-broken]" in done.stdout
        assert "no trusted key has signed what would be loaded" in done.stdout
    junit = command(
        *("report", plugin, "--env", env.prefix, "--format", "junit", "--fail-on", "never")
    )
    assert "<failure" not in junit.stdout


def test_a_policy_file_demands_trust_and_may_let_repairs_pass(
    plugin: Path, signer: Signer, env: TfEnvironment, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    folder = tmp_path / "policies"
    (folder / "keys").mkdir(parents=True)
    shutil.copy(signer.public, folder / "keys" / "build.pem")
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"format": "envlock.policy/1", "trust": ["keys"]}))
    checked = ("check", plugin, "--env", env.prefix, "--policy", policy)
    command(*checked)
    run(tool("patchelf"), "--set-rpath", "/elsewhere", plugin)
    assert "unsafe[signature-edited]" in command(*checked, status=1).stdout
    allowed = [{"rule": "signature-edited", "verdict": "drifted"}]
    policy.write_text(
        json.dumps({"format": "envlock.policy/1", "trust": ["keys"], "rules": allowed})
    )
    done = command(*checked)
    assert "drifted[signature-edited]" in done.stdout
    assert "became `/elsewhere`" in done.stdout
    document = valid(command(*checked, "--format", "json").stdout, "report")
    assert document["reports"][0]["plugin"]["signed_by"] == name_of(signer)


def test_stamping_again_without_the_key_drops_the_signature_and_says_so(
    plugin: Path, signer: Signer, env: TfEnvironment
) -> None:
    done = command("stamp", plugin, "--env", env.prefix)
    assert f"note: the signature by {name_of(signer)} is gone" in done.stdout
    report = command(
        *("check", plugin, "--env", env.prefix, "--trust", signer.public, "--format", "json"),
        status=1,
    )
    assert rules(valid(report.stdout, "report")) == ["signature-missing"]
    again = valid(
        command(
            *("stamp", plugin, "--env", env.prefix, "--sign", signer.private, "--format", "json")
        ).stdout,
        "stamp",
    )
    assert (again["signed_by"], again["notes"]) == (name_of(signer), [])
    command("check", plugin, "--env", env.prefix, "--trust", signer.public)


def test_bad_keys_are_one_line_and_exit_status_3(
    plugin: Path, signer: Signer, env: TfEnvironment, tmp_path: Path
) -> None:
    der = tmp_path / "key.der"
    der.write_bytes(b"\x30\x2a\x30\x05\x06\x03")
    before = plugin.read_bytes()
    for arguments, words in (
        (("check", plugin, "--trust", der), "is DER; keys are read as PEM"),
        (("check", plugin, "--trust", tmp_path / "none"), "No such file or directory"),
        (("check", plugin, "--trust", signer.private), "`PRIVATE KEY` is not a public key"),
        (("check", plugin, "--trust", plugin), "neither PEM nor an OpenSSH public key"),
        (("stamp", plugin, "--sign", signer.public), "is no private key"),
        (("stamp", plugin, "--sign", tmp_path / "none"), "No such file or directory"),
    ):
        done = command(*arguments, "--env", env.prefix, status=3)
        error = done.stderr.splitlines()
        assert words in error[0]
        assert error[1:] == [] or [line.lstrip().startswith("hint") for line in error[1:]] == [True]
    failed = command(
        *("check", plugin, "--env", env.prefix, "--trust", der, "--format", "json"), status=3
    )
    assert valid(failed.stdout, "report")["reports"][0]["verdict"] is None
    assert plugin.read_bytes() == before


def test_without_cryptography_only_trust_is_an_error(
    plugin: Path, signer: Signer, env: TfEnvironment, tmp_path: Path
) -> None:
    """The package is hidden, as where envlock was installed without its extras."""
    hidden = tmp_path / "hidden"
    (hidden / "cryptography").mkdir(parents=True)
    (hidden / "cryptography" / "__init__.py").write_text("raise ImportError('hidden')\n")
    path = {"PYTHONPATH": str(hidden)}
    command("check", plugin, "--env", env.prefix, **path)
    command("show", plugin, **path)
    for arguments in (("check", "--trust", signer.public), ("stamp", "--sign", signer.private)):
        done = command(*arguments, plugin, "--env", env.prefix, status=3, **path)
        assert "need the package `cryptography`" in done.stderr
        assert "pip install 'tf-envlock[sign]'" in done.stderr


def test_load_demands_trust_before_tensorflow_is_imported(
    plugin: Path, signer: Signer, env: TfEnvironment, tmp_path: Path
) -> None:
    """The gate in a real TensorFlow process; cryptography for its Python lies beside it."""
    from tests.support.environments import uv

    beside = tmp_path / "beside"
    subprocess.run(
        [*uv(), "pip", "install", "--quiet", "--target", str(beside), "--python", str(env.python),
         "cryptography"],
        check=True,
    )  # fmt: skip
    (beside / "envlock").symlink_to(CHECKOUT / "envlock")
    edited = tmp_path / "edited.so"
    content = plugin.read_bytes()
    at = content.index(b"ZeroOut\0")
    edited.write_bytes(content[:at] + b"ZeroIn" + content[at + 6 :])
    script = """
import json, sys
import envlock
plugin, edited, keys = sys.argv[1:]
known = set(sys.modules)
policy = envlock.PolicyFile(trust=(keys,))
try:
    envlock.load(edited, policy=policy)
except envlock.IncompatiblePluginError as error:
    refused = [f.rule for f in error.report.findings if f.verdict == "unsafe"]
    text = str(error)
early = "tensorflow" in sys.modules
out = envlock.load(plugin, policy=policy).zero_out([6, 5]).numpy().tolist()
print(json.dumps([refused, early, out, "signature-broken" in text]))
"""
    done = subprocess.run(
        [env.python, "-c", script, plugin, edited, signer.public],
        env={**clean_environ(), **QUIET, "PYTHONPATH": str(beside)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    refused, early, out, told = json.loads(done.stdout.splitlines()[-1])
    assert "signature-broken" in refused
    assert (early, out, told) == (False, [6, 0], True)
