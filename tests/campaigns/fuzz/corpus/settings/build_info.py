import collections

build_info = collections.OrderedDict(
    [
        ("cuda_version", "12.2"),
        ("is_cuda_build", True),
        ("cuda_compute_capabilities", ["sm_50", "compute_90"]),
        ("path", "/usr/bin/gcc"),
        ("n", -5),
    ]
)
