"""A framework of a hundred lines in two releases, built with g++: what TensorFlow does to plugins.

Release 2 inserts a member, a virtual function and a larger class, in the way TensorFlow does from
one minor release to the next, and keeps every exported symbol: the dynamic linker notices nothing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HEADER = """
#pragma once
#include <string>
namespace tensorflow {
class Shape {
 public:
  Shape();
  ~Shape();
  long rank() const { return rank_; }
 private:
#if RELEASE >= 2
  long more_[4];
#endif
  long rank_;
};
class Resource {
 public:
  virtual ~Resource();
  virtual int First() const = 0;
#if RELEASE >= 2
  virtual int Between() const;
#endif
  virtual int Last() const = 0;
 protected:
  long count_;
};
class OpKernelContext {
 public:
  struct Params {
    long step;
#if RELEASE >= 2
    long added;
#endif
    long inputs;
    Resource* resource;
  };
  OpKernelContext();
  long num_inputs() const { return params_->inputs; }
  long step() const { return params_->step; }
  Resource* resource() const { return params_->resource; }
  template <class T> T inputs_as() const { return static_cast<T>(params_->inputs); }
  int Describe() const;
 private:
  long before_[2];
  Params* params_;
};
int Ask(const Resource* resource);
}  // namespace tensorflow
"""

LIBRARY = """
#include "tensorflow/core/framework/op_kernel.h"
namespace tensorflow {
Shape::Shape() {
#if RELEASE >= 2
  for (long& one : more_) one = 77;
#endif
  rank_ = 3;
}
Shape::~Shape() {}
Resource::~Resource() {}
#if RELEASE >= 2
int Resource::Between() const { return -1; }
#endif
struct Own : Resource {
  int First() const override { return 1; }
  int Last() const override { return 2; }
};
OpKernelContext::OpKernelContext() {
  params_ = new Params();
  params_->step = 5;
  params_->inputs = 7;
  params_->resource = new Own();
}
int OpKernelContext::Describe() const { return 1; }
int Ask(const Resource* resource) { return resource->Last(); }
}  // namespace tensorflow
extern "C" tensorflow::OpKernelContext* make_context() { return new tensorflow::OpKernelContext(); }
"""

#: Plugins: each exports `long run(OpKernelContext*)`; the number is what it returns with its own
#: release of the framework.
PLUGINS = {
    "reads_moved": ("  return ctx->num_inputs() + 0 * ctx->Describe();", "", 7),
    "reads_unmoved": ("  return ctx->step() + 0 * ctx->Describe();", "", 5),
    "template": ("  return ctx->inputs_as<short>() + 0 * ctx->Describe();", "", 7),
    "calls_virtual": ("  return ctx->resource()->Last() + 0 * ctx->Describe();", "", 2),
    "holds_object": ("  tensorflow::Shape shape; return shape.rank();", "", 3),
    "overrides": (
        "  Mine mine; return tensorflow::Ask(&mine);",
        "struct Mine : tensorflow::Resource {\n"
        "  int First() const override { return 10; }\n"
        "  int Last() const override { return 20; }\n};",
        20,
    ),
}


class Framework:
    """One release of it: a package folder like a wheel's, and its library."""

    def __init__(self, root: Path, release: int) -> None:
        self.release = release
        self.version = f"9.{release}.0"
        self.package = root / f"release{release}" / "tensorflow"
        self.include = self.package / "include"
        header = self.include / "tensorflow/core/framework/op_kernel.h"
        header.parent.mkdir(parents=True)
        # The release is fixed in the header, as it is in an installed one.
        header.write_text(HEADER.replace("RELEASE >= 2", "1" if release >= 2 else "0"))
        source = root / f"library{release}.cc"
        source.write_text(LIBRARY)
        self.library = self.package / "libtensorflow_framework.so.2"
        compile_shared(
            source,
            self.library,
            f"-I{self.include}",
            f"-DRELEASE={release}",
            "-Wl,-soname,libtensorflow_framework.so.2",
        )

    def build(self, name: str, target: Path, *flags: str) -> Path:
        """Compile one of PLUGINS against this release."""
        body, before, _ = PLUGINS[name]
        source = target.with_suffix(".cc")
        source.write_text(
            '#include "tensorflow/core/framework/op_kernel.h"\n'
            f"{before}\n"
            f'extern "C" long run(tensorflow::OpKernelContext* ctx) {{\n{body}\n}}\n'
        )
        compile_shared(source, target, f"-I{self.include}", "-O2", *flags, str(self.library))
        return target

    def run(self, plugin: Path) -> str:
        """What `run` returns with this release's library loaded, or how the process ended."""
        script = (
            "import ctypes, sys\n"
            "framework = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)\n"
            "framework.make_context.restype = ctypes.c_void_p\n"
            "plugin = ctypes.CDLL(sys.argv[2])\n"
            "plugin.run.restype = ctypes.c_long\n"
            "plugin.run.argtypes = [ctypes.c_void_p]\n"
            "print(plugin.run(framework.make_context()))\n"
        )
        answer = subprocess.run(
            ["python3", "-c", script, str(self.library), str(plugin)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "LC_ALL": "C"},
        )
        return answer.stdout.strip() if answer.returncode == 0 else f"died: {answer.returncode}"


def compile_shared(source: Path, target: Path, *arguments: str) -> None:
    """Compile and link a shared library with g++."""
    command = ["g++", "-shared", "-fPIC", "-w", str(source), "-o", str(target), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def strip(plugin: Path, target: Path) -> Path:
    """A copy without debug information and local symbols."""
    subprocess.run(["strip", "-o", str(target), str(plugin)], check=True)
    return target
