"""Rules about what TensorFlow would do with the plugin's ops and kernels.

The dynamic linker takes such plugins and TensorFlow raises nothing: it ignores an op whose name is
taken, keeps every kernel, and refuses to run an op with two kernels that fit equally well.
"""

from __future__ import annotations

from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from ..base import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Union

    from ...models.registration import KernelRecord, Registrations

    Answer = Union[Finding, Unchecked]

RULES = Rules("ops")


#: Pairs of kernels that are compared for one plugin; 1,400 kernels of one op for one device.
MAX_PAIRS = 1 << 20
TOO_MANY = "there are too many of them to compare each with each"


class Registering:
    """Everything a rule may look at. The functions are asked only about names in question.

    `builtin`: whether an op is TensorFlow's own. `taken`: whether the process has registered it.
    `kernels`: what is registered for an op; None where that is not known. `registrants`: the
    loaded files that register it, the plugin's own file left out. `copies`: loaded files that are
    this very build.
    """

    __slots__ = (
        "_labelled",
        "_own",
        "builtin",
        "copies",
        "has_kernels",
        "kernels",
        "name",
        "pairs",
        "path",
        "registrants",
        "registrations",
        "taken",
    )

    def __init__(
        self,
        name: str,
        path: str,
        registrations: Registrations,
        *,
        builtin: Callable[[str], bool],
        taken: Callable[[str], bool],
        kernels: Callable[[str], Sequence[KernelRecord] | None],
        registrants: Callable[[str], Sequence[str]],
        copies: Callable[[], Sequence[str]],
    ) -> None:
        self.name = name
        self.path = path
        self.registrations = registrations
        self.builtin = builtin
        self.taken = taken
        self.kernels = kernels
        self.registrants = registrants
        self.copies = copies
        self.pairs = MAX_PAIRS
        self._own: dict[str, list[KernelRecord]] | None = None
        self._labelled: dict[str, dict[str, list[KernelRecord]]] = {}

    def own(self, op: str) -> Sequence[KernelRecord]:
        """The plugin's own kernels of an op."""
        if self._own is None:
            self._own = {}
            for kernel in self.registrations.kernels:
                self._own.setdefault(kernel.op, []).append(kernel)
        return self._own.get(op, ())

    def labelled(self, kernel: KernelRecord) -> Sequence[KernelRecord] | None:
        """The registered kernels of a kernel's op that have its label, too: no others compete.

        None once more pairs would be compared than `MAX_PAIRS`.
        """
        known = self._labelled.get(kernel.op)
        if known is None:
            known = self._labelled[kernel.op] = {}
            for other in self.kernels(kernel.op) or ():
                known.setdefault(other.label, []).append(other)
        found = known.get(kernel.label, ())
        self.pairs -= len(found)
        return found if self.pairs >= 0 else None

    @property
    def ops(self) -> list[str]:
        """The names that the plugin registers, each once."""
        return list(dict.fromkeys(op.name for op in self.registrations.ops))


def compete(one: KernelRecord, other: KernelRecord) -> bool | None:
    """Whether one node can match both kernels (`FindKernelRegistration` in op_kernel.cc).

    None where a file does not show the device or the types of one of them.
    """
    if one.op != other.op or one.label != other.label:
        return False
    if one.device is not None and other.device is not None and one.device != other.device:
        return False
    if None in (one.device, other.device, one.constraints, other.constraints):
        return None
    types = {c.attr: c.types for c in other.constraints or ()}
    for constraint in one.constraints or ():
        allowed = types.get(constraint.attr)
        if allowed is not None and not set(allowed) & set(constraint.types):
            return False
    return True


def describe(kernel: KernelRecord) -> str:
    """A kernel in words: device and types."""
    shown = [f"{c.attr} = {', '.join(c.types)}" for c in kernel.constraints or ()]
    return f"{kernel.device or '?'}" + (f" ({'; '.join(shown)})" if shown else "")


def _files(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


@RULES.rule(
    "op-twice",
    "The same op twice in one file",
    "TensorFlow raises `AlreadyExistsError` while it loads the plugin, and a second attempt "
    "gives a module without ops.",
)
def op_twice(c: Registering) -> Iterator[Answer]:
    from collections import Counter

    for op, count in Counter([op.name for op in c.registrations.ops]).items():
        if count > 1:
            yield op_twice.finding(
                subject=op,
                built=c.path,
                message=f"`{c.name}` registers the op `{op}` {count} times",
                why="TensorFlow answers with `AlreadyExistsError: Op with name " + op + "`",
                remedy=f"remove one `REGISTER_OP({op!r})` of `{c.name}`".replace("'", '"'),
            )


@RULES.rule(
    "plugin-copy",
    "The same plugin from another path",
    "A copy of a loaded plugin registers everything once more. TensorFlow ignores the ops and "
    "keeps the kernels, which breaks the ops of the first module. One file under two paths "
    "(a link, another spelling) does no harm.",
    Verdict.UNSAFE,
)
def plugin_copy(c: Registering) -> Iterator[Answer]:
    copies = c.copies()
    if not copies:
        return
    ops = [op for op in c.ops if c.taken(op)] or sorted({k.op for k in c.registrations.kernels})
    shown = ", ".join(f"`{op}`" for op in ops[:3]) + (", ..." if len(ops) > 3 else "")
    yield plugin_copy.finding(
        subject=c.name,
        built=c.path,
        live=copies[0],
        message=f"this process has loaded the same build already, as {_files(copies)}",
        why=(
            f"TensorFlow would ignore the second {shown} without an error (the new module lacks them) "
            'but keep both sets of kernels: calls of the first module then fail with "Multiple '
            'OpKernel registrations match"'
        ),
        remedy=f"envlock.load({copies[0]!r}), everywhere by the same path",
        count=max(len(ops), 1),
        examples=tuple(ops[:5]),
    )


@RULES.rule(
    "op-taken",
    "An op that another file has registered",
    "TensorFlow ignores the second definition of an op without an error, so the new module lacks "
    "it. If the plugin also brings a kernel that the first one has, the first plugin's op is "
    "broken: what ran before goes on, everything else fails.",
    Verdict.UNSAFE,
)
def op_taken(c: Registering) -> Iterator[Answer]:
    if c.copies():
        return
    for op in c.ops:
        if not c.taken(op) or c.builtin(op):
            continue
        files = c.registrants(op)
        where = _files(files) if files else "something that this process has loaded"
        rivals = _rivals(c, op)
        second = (
            "and this plugin brings a second kernel for it" if rivals else "the first one stays"
        )
        why = f"TensorFlow ignores the second definition without an error: the new module lacks `{op}`"
        if rivals:
            why += (
                f"; with two kernels the first plugin's `{op}` fails with "
                '"Multiple OpKernel registrations match" where it has not run before'
            )
        yield op_taken.finding(
            verdict=Verdict.UNSAFE if rivals else Verdict.DRIFTED,
            subject=op,
            built=c.path,
            live=files[0] if files else None,
            message=f"the op `{op}` is registered already, by {where}, {second}",
            why=why,
            remedy=f"load one of the two, or give the op of `{c.name}` another name in its source",
        )


def _rivals(c: Registering, op: str) -> bool:
    for mine in c.own(op):
        known = c.labelled(mine)
        if known is None or any(
            compete(mine, theirs) is not False and mine.priority == theirs.priority
            for theirs in known
        ):
            return True
    return False


@RULES.rule(
    "op-builtin",
    "An op named like one of TensorFlow's own",
    "TensorFlow ignores it without an error; the module lacks it.",
    Verdict.DRIFTED,
)
def op_builtin(c: Registering) -> Iterator[Answer]:
    for op in c.ops:
        if c.builtin(op):
            yield op_builtin.finding(
                subject=op,
                built=c.path,
                live="TensorFlow",
                message=f"TensorFlow has an op `{op}` of its own, the plugin's would be ignored",
                why="nothing is raised, the module just lacks it, and calls get TensorFlow's own op",
                remedy=f"give the op of `{c.name}` another name in its source",
            )


@RULES.rule(
    "kernel-twice",
    "A second kernel for the same op, device and types",
    "TensorFlow keeps both and refuses to run the op for the whole process, also one of its "
    "own such as `AddV2`: calls that have run before go on, new ones and every `tf.function` "
    "fail.",
    Verdict.UNSAFE,
)
def kernel_twice(c: Registering) -> Iterator[Answer]:
    yield from _among_own(c)
    if c.pairs < 0:
        return
    told: set[str] = set()
    for kernel, known in _added(c):
        op = kernel.op
        if op in told:
            continue
        if known is None:
            told.add(op)
            yield Unchecked(
                what=f"kernels of `{op}`",
                why="which ones this TensorFlow has itself is only known in its process",
            )
            continue
        labelled = c.labelled(kernel)
        if labelled is None:
            yield Unchecked(what=f"kernels of `{op}`", why=TOO_MANY)
            return
        answers = [(compete(kernel, k), k) for k in labelled if k.priority == kernel.priority]
        certain = [other for answer, other in answers if answer]
        if certain:
            told.add(op)
            yield _second(c, kernel, c.registrants(op), certain[0], c.builtin(op))
        elif answers and any(answer is None for answer, _ in answers):
            told.add(op)
            yield Unchecked(
                what=f"kernels of `{op}`",
                why=f"the file does not show for which device and types `{c.name}` adds one",
            )


def _among_own(c: Registering) -> Iterator[Answer]:
    """Kernels of the plugin that compete with each other."""
    seen: dict[tuple[object, ...], list[KernelRecord]] = {}
    told: set[str] = set()
    for kernel in c.registrations.kernels:
        if kernel.op in told or kernel.device is None or kernel.constraints is None:
            continue
        key = (kernel.op, kernel.device, kernel.label, kernel.priority)
        others = seen.setdefault(key, [])
        c.pairs -= len(others)
        if c.pairs < 0:
            yield Unchecked(what=f"kernels of `{kernel.op}`", why=TOO_MANY)
            return
        if any(compete(kernel, k) for k in others):
            told.add(kernel.op)
            yield _second(c, kernel, (c.path,))
        else:
            others.append(kernel)


@RULES.rule(
    "kernel-priority",
    "A kernel beside one of another priority",
    "TensorFlow takes the kernel with the higher priority, for the whole process and without "
    "a message. Registering one is the documented way to replace a kernel.",
    Verdict.DRIFTED,
)
def kernel_priority(c: Registering) -> Iterator[Answer]:
    told: set[str] = set()
    for kernel, known in _added(c):
        if known is None or kernel.op in told:
            continue
        for other in c.labelled(kernel) or ():
            if kernel.priority != other.priority and compete(kernel, other):
                told.add(kernel.op)
                yield _replaced(c, kernel, other)
                break


def _added(c: Registering) -> Iterator[tuple[KernelRecord, Sequence[KernelRecord] | None]]:
    """The plugin's kernels of ops that are there without it, with those that these ops have."""
    if c.copies():
        return
    own = set(c.ops)
    for kernel in c.registrations.kernels:
        # A taken op that the plugin also defines is the matter of `op-taken`.
        if c.builtin(kernel.op) or (c.taken(kernel.op) and kernel.op not in own):
            known = c.kernels(kernel.op)
            if known is not None or kernel.device in (None, "CPU"):
                yield kernel, known


def _second(
    c: Registering,
    kernel: KernelRecord,
    files: Sequence[str],
    other: KernelRecord | None = None,
    builtin: bool = False,
) -> Finding:
    op = kernel.op
    if other is None:
        text = f"`{c.name}` registers two kernels of `{op}` for {describe(kernel)}"
        scope = f"`{op}` can never run"
    else:
        whose = _files(files) if files else "TensorFlow itself" if builtin else "another file"
        text = (
            f"`{op}` has a kernel for {describe(other)} already, by {whose}; "
            f"`{c.name}` adds one for {describe(kernel)}"
        )
        scope = f"`{op}` fails in the whole process, where it has not run before"
    return kernel_twice.finding(
        subject=op,
        built=describe(kernel),
        live=None if other is None else describe(other),
        message=text,
        why=f'{scope}: "Multiple OpKernel registrations match NodeDef at the same priority"',
        remedy=(
            f"remove the kernel from `{c.name}`, or register it for an op of its own name "
            "or with a `Label` that graphs ask for"
        ),
    )


def _replaced(c: Registering, kernel: KernelRecord, other: KernelRecord) -> Finding:
    op = kernel.op
    higher = kernel.priority > other.priority
    return kernel_priority.finding(
        subject=op,
        built=f"priority {kernel.priority}",
        live=f"priority {other.priority}",
        message=(
            f"`{c.name}` brings a kernel of `{op}` for {describe(kernel)} with priority "
            f"{kernel.priority}, the registered one has {other.priority}"
        ),
        why=(
            f"every `{op}` of the process that has not run before is computed by the plugin"
            if higher
            else "the registered one goes on to be used, the plugin's never runs"
        ),
    )
