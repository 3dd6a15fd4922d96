"""Times of operations from TensorFlow's profiler."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# Operations that run others, whose times have events of their own.
CALLS = {"While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall", "If"}


def profile(run: Callable[[], object], rounds: int) -> Counter:
    """Returns the milliseconds of each operation, `"name:type"`, in all rounds together."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(rounds):
                run()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    times: Counter = Counter()
    for line in plane.lines:
        for event in line.events:
            name = plane.event_metadata[event.metadata_id].name
            if re.fullmatch(r"[^:\s]+:\w+", name) and operation_of(name) not in CALLS:
                times[name] += event.duration_ps / 1e9
    return times


def operation_of(name: str) -> str:
    """Returns the type of an operation, such as `MatMul`, also of one that oneDNN computes."""
    return re.sub(r"^_Mkl(Native)?", "", name.rpartition(":")[2])
