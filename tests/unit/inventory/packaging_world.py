"""Small real packages for the tests: wheels, a package index, environments, git repositories."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.environments import clean_environ, uv

PURE = "py3-none-any"


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str] | None = None,
    *,
    requires: Sequence[str] = (),
    tag: str = PURE,
    build: str | None = None,
    scripts: Sequence[str] = (),
) -> Path:
    """A wheel with a package of that name, made as the specification says."""
    module = name.lower().replace("-", "_").replace(".", "_")
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    members: dict[str, bytes] = {f"{module}/__init__.py": f"__version__ = {version!r}\n".encode()}
    for path, content in (files or {}).items():
        members[path] = content.encode() if isinstance(content, str) else content
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    members[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    python, abi, platform = tag.split("-")
    tags = [f"{p}-{a}-{m}" for p in python.split(".") for a in abi.split(".") for m in [platform]]
    wheel = ["Wheel-Version: 1.0", "Generator: tests", f"Root-Is-Purelib: {'any' in tag}".lower()]
    wheel += [f"Tag: {one}" for one in tags]
    wheel += [f"Build: {build}"] if build else []
    members[f"{info}/WHEEL"] = ("\n".join(wheel) + "\n").encode()
    if scripts:
        lines = ["[console_scripts]", *(f"{one} = {module}:main" for one in scripts)]
        members[f"{info}/entry_points.txt"] = ("\n".join(lines) + "\n").encode()
    record = [
        f"{_quoted(path)},sha256={_digest(content)},{len(content)}"
        for path, content in members.items()
    ]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{stem}{f'-{build}' if build else ''}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), content)
    return path


def _quoted(path: str) -> str:
    return f'"{path}"' if "," in path else path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


class LocalIndex:
    """A package index and file server on the loopback: Simple API as HTML or JSON, and git."""

    def __init__(self, folder: Path, *, as_json: bool = True) -> None:
        self.folder = folder
        self.as_json = as_json
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, directory=str(folder), **kwargs)  # type: ignore[arg-type]

            def do_GET(self) -> None:
                outer.requests.append(self.path)
                if self.path.startswith("/simple/"):
                    self._project(self.path[len("/simple/") :].strip("/"))
                else:
                    super().do_GET()

            def _project(self, name: str) -> None:
                wheels = [w for w in sorted(folder.glob("*.whl")) if _project_of(w) == name]
                if not wheels:
                    self.send_error(404)
                    return
                kind, body = outer.page(name, wheels)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/simple"

    def page(self, name: str, wheels: Sequence[Path]) -> tuple[str, bytes]:
        files = [
            (w.name, f"{self.root}/{w.name}", hashlib.sha256(w.read_bytes()).hexdigest())
            for w in wheels
        ]
        if self.as_json:
            value = {
                "meta": {"api-version": "1.0"},
                "name": name,
                "files": [
                    {"filename": f, "url": url, "hashes": {"sha256": digest}}
                    for f, url, digest in files
                ],
            }
            return "application/vnd.pypi.simple.v1+json", json.dumps(value).encode()
        links = [
            f'<a href="{html.escape(url)}#sha256={digest}">{f}</a>' for f, url, digest in files
        ]
        return "text/html", f"<!doctype html><body>{''.join(links)}</body>".encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _project_of(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")


@contextlib.contextmanager
def local_index(folder: Path, *, as_json: bool = True) -> Iterator[LocalIndex]:
    index = LocalIndex(folder, as_json=as_json)
    try:
        yield index
    finally:
        index.close()


def environ(**more: str) -> dict[str, str]:
    """Variables for installers: this machine's configuration aside, only what is named."""
    kept = {k: v for k, v in clean_environ().items() if not k.startswith(("PIP_", "UV_"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", **more}


def run(*command: str | Path, **more: str) -> str:
    answer = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environ(**more)
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def new_venv(folder: Path, python: str | None = None) -> Path:
    """An empty virtual environment, made by uv."""
    run(*uv(), "venv", "--quiet", "--no-project", "--python", python or sys.executable, folder)
    return folder


def uv_install(env: Path, *arguments: str | Path, index: str | None = None) -> None:
    where = ("--index-url", index) if index else ("--no-index",)
    run(*uv(), "pip", "install", "--quiet", "--python", env / "bin/python", *where, *arguments)


def pip_install(env: Path, *arguments: str | Path, index: str | None = None) -> None:
    where = ("--index-url", index) if index else ("--no-index",)
    run(
        *(sys.executable, "-m", "pip", "--python", env / "bin/python", "install", "--quiet"),
        *("--no-cache-dir", "--disable-pip-version-check", *where, *arguments),
    )


def site_packages(env: Path) -> Path:
    return next((env / "lib").glob("python3.*/site-packages"))


#: A build backend that needs nothing: the project builds its own wheel.
BACKEND = """
import base64, hashlib, zipfile

NAME, VERSION = "{name}", "{version}"
INFO = f"{{NAME}}-{{VERSION}}.dist-info"

def _write(folder, members):
    lines = []
    path = f"{{folder}}/{{NAME}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            raw = content.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
            lines.append(f"{{name}},sha256={{digest}},{{len(raw)}}")
            archive.writestr(name, raw)
        archive.writestr(f"{{INFO}}/RECORD", "\\n".join([*lines, f"{{INFO}}/RECORD,,", ""]))
    return path.rpartition("/")[2]

def _meta():
    return {{
        f"{{INFO}}/METADATA": f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n",
        f"{{INFO}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
    }}

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(f"{{NAME}}.py") as file:
        return _write(folder, {{f"{{NAME}}.py": file.read(), **_meta()}})

def build_editable(folder, config_settings=None, metadata_directory=None):
    import os
    return _write(folder, {{f"{{NAME}}.pth": os.getcwd() + "\\n", **_meta()}})
"""


def make_project(folder: Path, name: str, version: str) -> Path:
    """A source tree that pip and uv can build, editable too, without anything else."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "own_backend"\nbackend-path = ["."]\n'
    )
    (folder / "own_backend.py").write_text(BACKEND.format(name=name, version=version))
    (folder / f"{name}.py").write_text(f"VALUE = {version!r}\n")
    return folder


def make_git_repository(folder: Path) -> str:
    """Turn a folder into a repository that a plain file server can serve; returns the commit."""
    git = ("git", "-C", folder, "-c", "user.name=T", "-c", "user.email=t@example.org")
    run("git", "init", "--quiet", folder)
    run(*git, "add", "-A")
    run(*git, "commit", "--quiet", "-m", "all")
    run(*git, "update-server-info")
    return run(*git, "rev-parse", "HEAD").strip()


def read_member(wheel: Path, member: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
        return archive.read(member)
