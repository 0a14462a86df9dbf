"""Manifests for tests; nothing in them is read from this machine."""

from __future__ import annotations

from envlock.models.manifest import (
    MANIFEST_FORMAT,
    Compilation,
    Manifest,
    PlatformFacts,
    PluginIdentity,
    PythonFacts,
    TensorFlowFacts,
)


def manifest(generator: str = "tf-envlock 0") -> Manifest:
    """A small valid manifest."""
    return Manifest(
        format=MANIFEST_FORMAT,
        generator=generator,
        plugin=PluginIdentity(
            name="small.so",
            machine="x86_64",
            bits=64,
            byte_order="little",
            compilation=Compilation(),
        ),
        tensorflow=TensorFlowFacts(version="2.15.1", distribution="tensorflow-cpu"),
        python=PythonFacts(version="3.11.7", implementation="cpython"),
        platform=PlatformFacts(machine="x86_64"),
    )
