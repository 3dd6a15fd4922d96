import pytest
import tensorflow as tf

from profile_training import part_of
from profiler import operation_of, profile

pytestmark = pytest.mark.tensorflow_only

DECODER = "encoder_decoder/transformer_decoder"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (f"{DECODER}/tokens_1/Tensordot/MatMul:MatMul", "logits, forward"),
        (f"gradient_tape/{DECODER}/tokens_1/Tensordot/MatMul:MatMul", "logits, backward"),
        (f"{DECODER}/feed_forward_3/inner_1/MatMul:MatMul", "feed-forward, forward"),
        (f"{DECODER}/output_11/MatMul:MatMul", "attention, forward"),
        ("decoder/while/body/bahdanau_decoder_cell/gru_cell/MatMul:MatMul",
         "decoder's RNN, forward"),
        ("decoder/while/body/bahdanau_decoder_cell/query_1/MatMul:MatMul", "attention, forward"),
        ("encoder/recurrent_encoder/while/gru_cell/MatMul:MatMul", "encoder's RNN, forward"),
        ("adam/Mul_171:Mul", "optimizer"),
        ("Equal:Equal", "other"),
    ],
)  # fmt: skip
def test_operations_belong_to_parts(name, part):
    assert part_of(name) == part


def test_operations_of_onednn_have_the_names_of_tensorflow():
    assert operation_of("encoder/MatMul:_MklMatMul") == "MatMul"
    assert operation_of("encoder/MatMul:_MklNativeBatchMatMulV2") == "BatchMatMulV2"


def test_profile_has_the_operations_of_all_rounds():
    x = tf.ones((64, 64))

    @tf.function
    def run():
        return tf.while_loop(lambda y: True, lambda y: (tf.exp(x @ y),), (x,), maximum_iterations=3)

    run()
    times = profile(run, rounds=2)
    operations = {operation_of(name) for name in times}
    assert {"MatMul", "Exp"} <= operations
    assert "While" not in operations
    assert all(time > 0 for time in times.values())
