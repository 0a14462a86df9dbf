"""The types of tensors."""

from __future__ import annotations

#: DataType (types.proto) by number; the names are those of attribute specifications.
TYPES = dict(
    enumerate(
        (
            "float",
            "double",
            "int32",
            "uint8",
            "int16",
            "int8",
            "string",
            "complex64",
            "int64",
            "bool",
            "qint8",
            "quint8",
            "qint32",
            "bfloat16",
            "qint16",
            "quint16",
            "uint16",
            "complex128",
            "half",
            "resource",
            "variant",
            "uint32",
            "uint64",
            "float8_e5m2",
            "float8_e4m3fn",
        ),
        1,
    )
)
TYPES.update({29: "int4", 30: "uint4", 31: "int2", 32: "uint2"})
