"""Debug information of a plugin that was built without: its sources compiled once more with `-g`.

The user names the build's own commands: a compilation database (`compile_commands.json`, as
CMake writes it) or command lines. Each source is compiled as the command says, into
a temporary folder: what would write elsewhere (`-o`, dependency files, dumps), link or strip is
taken out, `-g` is put in. Debug information does not change the code that g++ makes, so these
objects tell what the plugin was compiled against. This runs the user's compiler, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from ...models.errors import FileAccessError, InputError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SOURCES = (".c", ".cc", ".cp", ".cpp", ".cxx", ".c++", ".C", ".CPP", ".cu", ".i", ".ii")
#: Programs that run the compiler named after them; the compiler itself is run.
LAUNCHERS = ("ccache", "sccache", "distcc", "icecc", "buildcache", "env", "nice", "time")
_LINKED = re.compile(r"\.(o|lo|a|obj|so(\.[\d.]+)?)$")
MAX_DATABASE = 256 << 20
TIMEOUT = 3600

#: Options whose value is the next argument, and which are left out with it.
_DROP_WITH_VALUE = frozenset(
    ("-o", "-MF", "-MT", "-MQ", "-MJ", "-aux-info", "-dumpbase", "-dumpdir", "-dumpbase-ext")
    + ("-Xlinker", "-l", "-L", "-T", "-u", "-z", "-e", "-h", "-rpath", "-soname", "-framework")
)
#: Options whose value is the next argument, and which stay.
_KEEP_WITH_VALUE = frozenset(
    ("-I", "-D", "-U", "-x", "-include", "-imacros", "-isystem", "-iquote", "-idirafter")
    + ("-iprefix", "-iwithprefix", "-iwithprefixbefore", "-isysroot", "-imultilib", "--param")
    + ("-Xpreprocessor", "-Xassembler", "-Xclang", "-Xcompiler", "-mllvm", "-target", "-arch")
    + ("--sysroot", "-B", "-A", "-std", "-ccbin", "-gencode")
)
_DROP = frozenset(
    ("-c", "-S", "-E", "-M", "-MM", "-MD", "-MMD", "-MP", "-MG", "-MV", "-s", "-r", "-pie")
    + ("-no-pie", "-static-pie", "-shared", "-static", "-rdynamic", "-symbolic", "-fsyntax-only")
    + ("-nostartfiles", "-nodefaultlibs", "-nostdlib", "-fdebug-types-section", "-pass-exit-codes")
    + ("-###", "-v", "-H", "-static-libgcc", "-static-libstdc++", "-shared-libgcc")
)
_DROP_STARTS = (
    *("-Wl,", "-l", "-L", "-o", "-MF", "-MT", "-MQ", "-MJ", "-flto", "-fno-lto", "-fuse-ld"),
    *("-fuse-linker-plugin", "-fno-use-linker-plugin", "-save-temps", "--save-temps", "-fdump-"),
    *("-ftime-trace", "-fdiagnostics-format", "-fopt-info", "-ffat-lto", "-fno-fat-lto", "-fwpa"),
    *(
        "-fstack-usage",
        "-Wp,-M",
        "-fcallgraph-info",
        "-fsave-optimization-record",
        "-print-",
        "-dump",
    ),
)


class Command:
    """How one source is compiled: the folder, the compiler with its options, the source.

    `output` is what the build calls the result, as far as the command says. `optimised_late` tells
    that the build's linker makes the code (`-flto`).
    """

    __slots__ = ("arguments", "directory", "environment", "optimised_late", "output", "source")

    def __init__(
        self,
        directory: str,
        environment: Sequence[tuple[str, str]],
        arguments: Sequence[str],
        source: str,
        output: str | None,
        optimised_late: bool = False,
    ) -> None:
        self.directory = directory
        self.environment = tuple(environment)
        self.arguments = tuple(arguments)
        self.source = source
        self.output = output
        self.optimised_late = optimised_late

    @property
    def path(self) -> str:
        """The source's absolute path."""
        return os.path.normpath(os.path.join(self.directory, self.source))


def read_database(path: str) -> list[Command]:
    """The commands of a `compile_commands.json`; a relative `directory` is beside the file.

    Raises `FileAccessError` and `InputError`.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_DATABASE + 1)
    except OSError as error:
        raise FileAccessError(f"cannot read `{path}`: {error.strerror}") from None
    if len(raw) > MAX_DATABASE:
        raise InputError(f"`{path}` is larger than {MAX_DATABASE >> 20} MB")
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or "nested too deeply"
        raise InputError(f"`{path}` is not JSON: {reason}") from None
    if not isinstance(entries, list):
        raise InputError(
            f"`{path}` is not a compilation database: it does not hold a list",
            hint="CMake writes one with -DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
        )
    base = os.path.dirname(os.path.abspath(path))
    found = []
    for number, entry in enumerate(entries):
        found += _entry(entry, base, f"entry {number} of `{path}`")
    if not found:
        raise InputError(f"`{path}` names no C or C++ source")
    return found


def _entry(entry: object, base: str, where: str) -> list[Command]:
    if not isinstance(entry, dict):
        raise InputError(f"{where} is not a table")
    directory, source = entry.get("directory", "."), entry.get("file")
    arguments, line = entry.get("arguments"), entry.get("command")
    if not isinstance(directory, str) or not isinstance(source, str) or "\0" in directory + source:
        raise InputError(f"{where} has no `directory` and `file`")
    directory = os.path.normpath(os.path.join(base, directory))
    if isinstance(arguments, list) and arguments and all(isinstance(a, str) for a in arguments):
        words = list(arguments)
    elif isinstance(line, str):
        words = _split(line, where)
    else:
        raise InputError(f"{where} has neither `arguments` nor `command`")
    if not source.endswith(SOURCES):
        return []  # assembly, or a header that a language server wants to know
    found = _commands(words, directory, where, source)
    output = entry.get("output")
    if isinstance(output, str):
        for one in found:
            one.output = output
    return found


def read_line(line: str, directory: str | None = None) -> list[Command]:
    """The commands in one command line as it is typed in a folder, one for each source in it.

    It is split like a shell does, no shell runs it. Raises `InputError`.
    """
    where = f"`{line if len(line) <= 60 else line[:57] + '...'}`"
    found = _commands(_split(line, where), directory or os.getcwd(), where, None)
    if not found:
        raise InputError(f"{where} names no C or C++ source")
    return found


def _split(line: str, where: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"{where} is not a command line: {str(error).lower()}") from None
    for word in words:
        if word in ("&&", "||", ";", "|", ">", "<", "&") or word.startswith(("$(", "`")):
            raise InputError(
                f"{where} is a shell's command (`{word}`), not a compiler's",
                hint="name the compiler with its arguments, one --compile-command for each",
            )
    return words


def _commands(words: list[str], directory: str, where: str, file: str | None) -> list[Command]:
    """One command for each source of a command line; only `file`, where one is given."""
    environment = []
    at = 0
    while at < len(words):
        name, equals, value = words[at].partition("=")
        if equals and name.isidentifier():
            environment.append((name, value))
        elif os.path.basename(words[at]) not in LAUNCHERS:
            break
        at += 1
    if at >= len(words):
        raise InputError(f"{where} names no compiler")
    rest = _expanded(words[at + 1 :], directory)
    kept, sources, output = _sorted_out(words[at], rest)
    if file is not None:
        sources = [file]
    late = any(word.startswith("-flto") for word in rest) and "-fno-lto" not in rest
    return [Command(directory, environment, kept, source, output, late) for source in sources]


def _expanded(words: Sequence[str], directory: str, depth: int = 0) -> list[str]:
    """The words with those of response files (`@file`) in their place."""
    found: list[str] = []
    for word in words:
        if not word.startswith("@") or depth > 8:
            found.append(word)
            continue
        try:
            with open(os.path.join(directory, word[1:]), encoding="utf-8") as file:
                inner = shlex.split(file.read(MAX_DATABASE))
        except (OSError, ValueError):
            found.append(word)  # the compiler takes it for a file's name, too, and says so
            continue
        found += _expanded(inner, directory, depth + 1)
    return found


def _sorted_out(compiler: str, words: Sequence[str]) -> tuple[list[str], list[str], str | None]:
    """The compiler with what is kept of its options, the sources, and the output."""
    kept: list[str] = [compiler]
    sources: list[str] = []
    output = None
    language = False
    rest = iter(words)
    for word in rest:
        if word in _DROP_WITH_VALUE:
            value = next(rest, None)
            output = value if word == "-o" else output
        elif word in _KEEP_WITH_VALUE:
            value = next(rest, None)
            kept += [word] if value is None else [word, value]
            language = language or word == "-x"
        elif word in _DROP or word.startswith(_DROP_STARTS):
            output = word[2:] if word.startswith("-o") else output
        elif word.startswith("-g") and not word.startswith(("-gcc", "-gencode")):
            continue
        elif word.startswith(("-", "@")):
            kept.append(word)
        elif word.endswith(SOURCES) or (language and not _LINKED.search(word)):
            sources.append(word)
        # What is left are objects, archives and libraries: they are linked, not compiled.
    return kept, sources, output


def belonging(commands: Sequence[Command], plugin: str, files: Iterable[str]) -> list[Command]:
    """The commands that can be the plugin's, by what is known before anything is compiled.

    `files` are the names of the sources in its symbol table. Without those, the CMake target of
    the plugin's name is asked; where neither tells, all commands are given.
    """
    names = {name for name in files if name.endswith(SOURCES)}
    found = [one for one in commands if os.path.basename(one.source) in names]
    if found:
        return found
    stem = os.path.basename(plugin).partition(".")[0]
    for target in (stem, stem[3:] if stem.startswith("lib") else ""):
        folder = f"CMakeFiles/{target}.dir/"
        found = [one for one in commands if target and folder in (one.output or "")]
        if found:
            return found
    return list(commands)


class Objects:
    """A temporary folder of objects with debug information; use it in a `with` statement.

    Raises `WriteError` when there is no room for one.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = list(commands)
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="envlock-compile-")
        except OSError as error:
            raise WriteError(
                f"no temporary folder can be made: {error.strerror or error}",
                hint="name a writable one with the variable TMPDIR",
            ) from None

    def __enter__(self) -> list[tuple[Command, str]]:
        """Compile all, as many at once as there are processors; gives each command's object.

        Raises `InputError` naming the source and the compiler's first error.
        """
        try:
            targets = [
                os.path.join(self._folder.name, f"{number}.o")
                for number in range(len(self.commands))
            ]
            with ThreadPoolExecutor(os.cpu_count() or 1) as compilers:
                list(compilers.map(compile_object, self.commands, targets))
            return list(zip(self.commands, targets))
        except BaseException:
            self._folder.cleanup()
            raise

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def compile_object(command: Command, target: str) -> None:
    """Compile one source with debug information into `target`. Raises `InputError`."""
    words = [*command.arguments, "-g", "-fno-lto", "-w", "-c", "-o", target, command.source]
    environment = {**os.environ, **dict(command.environment), "LC_ALL": "C"}
    try:
        answer = subprocess.run(
            words,
            cwd=command.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"`{command.source}` does not compile: `{words[0]}` did not end within {TIMEOUT} s"
        ) from None
    except (OSError, ValueError) as error:
        if not os.path.isdir(command.directory):
            raise InputError(
                f"`{command.source}` does not compile: there is no folder `{command.directory}`"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"`{command.source}` does not compile: `{words[0]}` cannot be run: {reason}"
        ) from None
    if answer.returncode != 0 or not os.path.isfile(target):
        raise InputError(f"`{command.source}` does not compile: {_first_error(answer.stdout)}")


def _first_error(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    for mark in (" error: ", "error", "No such file"):
        for line in lines:
            if mark in line:
                return line[:500]
    return lines[0][:500] if lines else "the compiler says nothing"
