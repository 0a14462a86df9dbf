"""What each op must answer. Runs inside the TensorFlow environments, so it imports nothing else.

Every function gets the module that `tf.load_op_library` returned and raises AssertionError when an
answer is wrong.
"""

from __future__ import annotations

from typing import Any, Callable


def equal(got: Any, wanted: object) -> None:
    got = got.numpy() if hasattr(got, "numpy") else got
    got = got.tolist() if hasattr(got, "tolist") else got
    assert got == wanted, f"got {got!r}, not {wanted!r}"


def refuses(tf: Any, error: type[Exception], words: str, call: Callable[[], object]) -> None:
    said = "nothing was raised"
    try:
        call()
    except error as problem:
        said = str(problem)
    assert words in said, said


def minimal(tf: Any, module: Any) -> None:
    equal(module.envlock_minimal(x=[1, 2, -3]), [4, 7, -8])


def attributes(tf: Any, module: Any) -> None:
    y, told = module.envlock_attributes(x=[1.0, 2.0, 3.0], offsets=[1, 10], label="three")
    equal(y, [3.0, 14.0, 7.0])
    equal(told, b"three: float [3]")
    y, _ = module.envlock_attributes(x=tf.constant([1.5], tf.float64), scale=4.0, negate=True)
    equal(y, [-7.0])
    refuses(
        tf,
        tf.errors.InvalidArgumentError,
        "nothing to scale",
        lambda: module.envlock_attributes(x=tf.zeros([0])),
    )


def eigen_pool(tf: Any, module: Any) -> None:
    y, total = module.envlock_eigen_pool(x=tf.reshape(tf.range(200000.0), [400, 500]) / 100000.0)
    equal(y.shape.as_list(), [400, 500])
    assert abs(float(y[399, 499]) - (1.99999**2 + 2 * 1.99999 + 1)) < 1e-4, float(y[399, 499])
    assert abs(float(total) - 399998.0) < 40.0, float(total)


def resource(tf: Any, module: Any) -> None:
    counter = module.envlock_counter(shared_name="first", start=40)
    equal(module.envlock_count(counter=counter, amount=2), 42)
    again = module.envlock_counter(shared_name="first", start=0)
    equal(module.envlock_count(counter=again, amount=-2), 40)
    other = module.envlock_counter(shared_name="second")
    equal(module.envlock_count(counter=other, amount=1), 1)


def protobuf(tf: Any, module: Any) -> None:
    def ints(*values: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    example = tf.train.Example(
        features=tf.train.Features(feature={"a": ints(1, 2, 3), "b": ints(40)})
    )
    total, text = module.envlock_protobuf(serialized=example.SerializeToString())
    equal(total, 46)
    equal(tf.io.parse_tensor(text, tf.int64), [46])
    refuses(
        tf,
        tf.errors.DataLossError,
        "not a serialized Example",
        lambda: module.envlock_protobuf(serialized=b"\xff\xff"),
    )


def c_api(tf: Any, module: Any) -> None:
    equal(module.envlock_c_api(x=[[1.0, 2.0]]), [[6.0, 7.0]])
    equal(module.envlock_c_api(x=[0.5], step=-1), [-0.5])


def dependency(tf: Any, module: Any) -> None:
    equal(module.envlock_dependency(x=[1, -4]), [2, -8])


def plain(tf: Any, module: Any) -> None:
    assert not [name for name in dir(module) if name.startswith("envlock")]


def inline_readers(tf: Any, module: Any) -> None:
    seen = module.envlock_inline_readers(xs=[[1, 2], [3, 4]], last=1.0)
    equal(seen, [3, 1, tf.int32.as_datatype_enum, tf.float32.as_datatype_enum])


def lookup(tf: Any, module: Any) -> None:
    ours = module.envlock_table(limit=5, shared_name="ours")
    found, size = module.envlock_find(table=ours, keys=tf.constant([1, 4, 9], tf.int64))
    equal(found, [10, 40, -1])
    equal(size, 5)
    keys, minus_two = tf.constant([[2, 7]], tf.int64), tf.constant(-2, tf.int64)
    equal(tf.raw_ops.LookupTableSizeV2(table_handle=ours), 5)
    theirs = tf.raw_ops.LookupTableFindV2(table_handle=ours, keys=keys, default_value=minus_two)
    equal(theirs, [[20, -2]])
    refuses(
        tf,
        tf.errors.UnimplementedError,
        "the table is fixed",
        lambda: tf.raw_ops.LookupTableInsertV2(table_handle=ours, keys=keys, values=keys),
    )
    table = tf.lookup.experimental.DenseHashTable(
        key_dtype=tf.int64, value_dtype=tf.int64, default_value=-1, empty_key=-3, deleted_key=-4
    )
    table.insert(tf.constant([8], tf.int64), tf.constant([800], tf.int64))
    found, size = module.envlock_find(table=table.resource_handle, keys=tf.constant([8], tf.int64))
    equal(found, [800])
    equal(size, 1)


def dataset(tf: Any, module: Any) -> None:
    from tensorflow.python.data.ops import dataset_ops

    class Countdown(dataset_ops.DatasetSource):  # type: ignore[misc]
        def __init__(self, count: int) -> None:
            start = tf.constant(count, tf.int64)
            super().__init__(module.envlock_countdown_dataset(start=start))

        @property
        def element_spec(self) -> Any:
            return tf.TensorSpec([], tf.int64)

    equal([int(value) for value in Countdown(4)], [4, 3, 2, 1])
    doubled = Countdown(3).map(lambda value: value * 2).batch(2)
    equal([batch.numpy().tolist() for batch in doubled], [[6, 4], [2]])


ANSWERS = {
    function.__name__: function
    for function in (
        minimal,
        attributes,
        eigen_pool,
        resource,
        protobuf,
        c_api,
        dependency,
        plain,
        inline_readers,
        lookup,
        dataset,
    )
}
