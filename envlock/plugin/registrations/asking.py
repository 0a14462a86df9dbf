"""Loads one plugin and says what TensorFlow registered for it. Runs in a process of its own.

`python asking.py PLUGIN FD`: imports TensorFlow, lists ops and kernels, loads the plugin, lists
them again, and writes the difference as JSON to the file descriptor. Without a plugin (`-`) it
writes all that TensorFlow brings itself. Only what TensorFlow 2.5 to 2.21 have in common is used,
and nothing of envlock: the Python is another environment's.
"""

from __future__ import annotations

import json
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def type_name(number: int) -> str:
    """A DataType as attribute specifications spell it."""
    from tensorflow.core.framework import types_pb2

    return str(types_pb2.DataType.Name(number))[len("DT_") :].lower()


def argument(arg: Any) -> str:
    """OpDef.ArgDef in `REGISTER_OP`'s own words: `values: Ref(N * float)`."""
    kind = arg.type_attr or arg.type_list_attr or type_name(arg.type)
    text = f"{arg.number_attr} * {kind}" if arg.number_attr else kind
    return f"{arg.name}: Ref({text})" if arg.is_ref else f"{arg.name}: {text}"


def value(attr: Any) -> str:
    """AttrValue as it stands behind the `=` of an attribute specification."""
    kind = attr.WhichOneof("value")
    if kind == "list":
        for field in ("s", "i", "f", "b", "type", "shape", "tensor", "func"):
            items = getattr(attr.list, field)
            if len(items):
                return "[" + ", ".join(scalar(field, item) for item in items) + "]"
        return "[]"
    return scalar(kind, getattr(attr, kind)) if kind else "?"


def scalar(kind: str, item: Any) -> str:
    """One value of an attribute."""
    if kind == "s":
        return json.dumps(item.decode("utf-8", "backslashreplace"), ensure_ascii=False)
    if kind == "type":
        return "DT_" + type_name(item).upper()
    if kind == "b":
        return "true" if item else "false"
    if kind == "shape":
        if item.unknown_rank:
            return "<unknown>"
        return "[" + ", ".join("?" if d.size < 0 else str(d.size) for d in item.dim) + "]"
    if kind in ("i", "f"):
        return repr(item)
    return " ".join(str(item).split())


def attribute(attr: Any) -> str:
    """OpDef.AttrDef: `T: {int32, float} = DT_INT32`, `N: int >= 1`."""
    text = attr.type
    allowed = attr.allowed_values.list
    if len(allowed.type):
        inside = ", ".join(type_name(item) for item in allowed.type)
        text = f"list({{{inside}}})" if attr.type.startswith("list(") else f"{{{inside}}}"
    elif len(allowed.s):
        text = "{" + ", ".join(scalar("s", item) for item in allowed.s) + "}"
        text = f"list({text})" if attr.type.startswith("list(") else text
    if attr.has_minimum:
        text += f" >= {attr.minimum}"
    if attr.HasField("default_value"):
        text += f" = {value(attr.default_value)}"
    return f"{attr.name}: {text}"


def op_facts(op: Any) -> dict[str, Any]:
    """One OpDef."""
    return {
        "name": op.name,
        "inputs": [argument(arg) for arg in op.input_arg],
        "outputs": [argument(arg) for arg in op.output_arg],
        "attrs": [attribute(attr) for attr in op.attr],
        "stateful": bool(op.is_stateful),
    }


def kernel_facts(kernel: Any) -> dict[str, Any]:
    """One KernelDef."""
    return {
        "op": kernel.op,
        "device": kernel.device_type,
        "constraints": [
            {"attr": c.name, "types": [type_name(t) for t in c.allowed_values.list.type]}
            for c in kernel.constraint
        ],
        "priority": int(kernel.priority),
        "label": kernel.label,
    }


def registered() -> tuple[dict[str, Any], dict[str, Any]]:
    """All ops by name, and all kernels by their JSON with how often each is registered."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.framework import kernels

    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    found: dict[str, list[Any]] = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        facts = kernel_facts(kernel)
        found.setdefault(json.dumps(facts, sort_keys=True), [0, facts])[0] += 1
    return {op.name: op for op in ops.op}, found


def main() -> None:
    """Answer, a JSON object a line: what became known before a crash has been written."""
    plugin, output = sys.argv[1], int(sys.argv[2])
    # What the plugin prints, or does to standard streams, must not reach the answer.
    os.set_inheritable(output, False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def tell(**facts: Any) -> None:
        data = (json.dumps(facts) + "\n").encode()
        while data:
            data = data[os.write(output, data) :]

    import tensorflow

    tell(tensorflow=tensorflow.__version__)
    ops, kernels = registered()
    if plugin == "-":
        every = [kernel for count, kernel in kernels.values() for _ in range(count)]
        tell(ops=sorted(ops), kernels=every, done=True)
        return
    try:
        tensorflow.load_op_library(plugin)
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}"[:2000], done=True)
        return
    ops_after, kernels_after = registered()
    new = [
        facts
        for key, (count, facts) in kernels_after.items()
        for _ in range(count - kernels.get(key, [0])[0])
    ]
    tell(
        ops=[op_facts(op) for name, op in sorted(ops_after.items()) if name not in ops],
        kernels=new,
        done=True,
    )


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    finally:
        sys.stderr.flush()
        # Without destructors: the plugin's may crash, and TensorFlow's take a while.
        os._exit(status) if status == 0 else None
