"""Mangled C++ names: what they tell about a build, what is similar to them, how to show them.

Names follow the Itanium C++ ABI. They are compared mangled; they are demangled only to be shown,
and only when there is a finding.
"""

from __future__ import annotations

import re

from .templates import source_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


#: absl's inline namespace in each TensorFlow release, first and last minor that has it.
ABSL_RELEASES = {
    "lts_2020_09_23": ("2.5", "2.5"),
    "lts_20210324": ("2.6", "2.8"),
    "lts_20211102": ("2.9", "2.9"),
    "lts_20220623": ("2.10", "2.12"),
    "lts_20230125": ("2.13", "2.15"),
    "lts_20230802": ("2.16", "2.19"),
    "lts_20250127": ("2.20", "2.20"),
    "lts_20250814": ("2.21", "2.21"),
}

_ABSL = re.compile(r"1[24](lts_\d{4}_\d\d_\d\d|lts_\d{8})")
_NEW_STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_STD_VIEW = "St17basic_string_viewIcSt11char_traitsIcEE"
_ABSL_VIEW = re.compile(r"N4absl(?:1[24]lts_[\d_]{8,10})?11string_viewE")
_SUBSTITUTION = re.compile(r"S[0-9A-Z]*_")
_FRAMEWORK_SCOPES = (
    "10tensorflow",
    "3tsl",
    "3xla",
    "4absl",
    "6google8protobuf",
    "5Eigen",
    "15stream_executor",
    "4mlir",
    "3re2",
    "6tflite",
)
_FRAMEWORK_C = re.compile(r"(?:TF|TFE|TSL|SE|SP|TP)_[A-Z]\w+$")


def absl_namespace(name: str) -> str | None:
    """absl's inline namespace in a mangled name ("lts_20230802")."""
    found = _ABSL.search(name)
    return found[1] if found else None


def with_absl_namespace(name: str, namespace: str) -> str:
    """The same name in another inline namespace of absl."""
    return _ABSL.sub(f"{len(namespace)}{namespace}", name)


def mentions_string(name: str) -> str | None:
    """Which std::string a mangled name uses: "new", "old" (the ABI before GCC 5), None: neither."""
    if "7__cxx11" in name or "B5cxx11" in name:
        return "new"
    # Ss, Sa..., Sb..., Si, So, Sd are std::string and streams by the old names.
    return "old" if name.startswith("_Z") and re.search(r"(?<![a-z])Ss(?![a-z])", name) else None


def without_string_abi(name: str) -> str:
    """A form that is the same for both string ABIs: no abi tags, no substitutions."""
    text = name.replace("B5cxx11", "").replace(_NEW_STRING, "Ss").replace("St7__cxx11", "St")
    return _SUBSTITUTION.sub("", text)


def tagged_or_bare(name: str) -> list[str]:
    """The same function with and without the abi tag that a returned std::string brings."""
    if "B5cxx11" in name:
        return [name.replace("B5cxx11", "")]
    prefix = qualified_prefix(name)
    return [] if prefix is None else [f"{prefix}B5cxx11{name[len(prefix) :]}"]


def without_string_view(name: str) -> str:
    """A form that is the same whether a string_view is absl's or the standard library's."""
    text = name.replace(_STD_VIEW, "SV")
    return _SUBSTITUTION.sub("", _ABSL_VIEW.sub("SV", text))


def mentions_string_view(name: str) -> str | None:
    """Whose string_view a name uses: "std", "absl", or None."""
    if "St17basic_string_view" in name:
        return "std"
    return "absl" if "11string_view" in name and "4absl" in name else None


def belongs_to_framework(name: str) -> bool:
    """Whether a name is of TensorFlow or of a library that it exports (tsl, absl, protobuf)."""
    if not name.startswith("_Z"):
        return name.startswith("AbslInternal") or _FRAMEWORK_C.match(name) is not None
    return any(scope in name[:64] for scope in _FRAMEWORK_SCOPES)


def qualified_prefix(name: str) -> str | None:
    """The part of a mangled name that says which function it is, without its parameters.

    `_ZN10tensorflow8OpKernel11TraceStringE...` gives `_ZN10tensorflow8OpKernel11TraceString`.
    """
    head = re.match(r"_ZN[rVK]*(?:St)?|_Z(?=\d)", name)
    if head is None:
        return None
    parts, at = source_names(name, head.end())
    if not parts or name[at : at + 1].isdigit():
        return None
    if len(head[0]) == 2:  # not nested: what follows the name is its parameters
        at = name.index(parts[0], 2) + len(parts[0])
    # A constructor or destructor is told by its class only.
    tail = re.compile(r"[CD][0-9]").match(name, at)
    return name[: tail.end()] if tail else name[:at]


_SHORTER = (
    (
        "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >",
        "std::string",
    ),
    ("std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"),
    ("std::basic_string_view<char, std::char_traits<char> >", "std::string_view"),
)


def demangle(names: Iterable[str]) -> list[str]:
    """The names as C++ writes them; as they are where they are not understood, or cost too much."""
    from .demangle import demangle as whole

    wanted = list(names)
    if len(_shown) > MOST_SHOWN:
        _shown.clear()
    for name in wanted:
        if name not in _shown:
            text = whole(name)
            for long, short in _SHORTER:
                text = text.replace(long, short)
            _shown[name] = text
    return [_shown[name] for name in wanted]


#: Names that were demangled already; plugins share most of what they miss.
MOST_SHOWN = 4096
_shown: dict[str, str] = {}
