"""All parities hold for all models; the table of differences is in docs/reliability.md."""

import pytest

from parities.backends import differences, run_all
from parities.checks import (
    GENERATION,
    PARITIES,
    TOLERANCE,
    keras_export,
    onnx_file,
    saved_model,
    tflite,
)
from parities.families import FAMILIES, build

pytestmark = pytest.mark.tensorflow_only

# Models of different kinds, which the quick tests check; the slow ones check all.
QUICK = (
    "RNN, Bahdanau, tied, sampled",
    "Transformer, rotary, grouped queries, sandwich",
    "causal language model, rotary",
    "captioner, soft",
    "classifier",
)

# Models whose ONNX files and `model.export` are tested; the table has them of all.
EXPORTED = (
    *QUICK,
    "RNN, Luong, input feeding, stacked LSTM",
    "RNN, monotonic, recursive",
    "Transformer, ALiBi, window",
    "Transformer, post, marian, sampled",  # with GELU
)


def cases():
    for name in FAMILIES:
        for parity, check in PARITIES.items():
            if FAMILIES[name].strategy is None and check in GENERATION:
                continue
            if check in (onnx_file, keras_export) and name not in EXPORTED:
                continue
            is_export = check in (saved_model, tflite, onnx_file, keras_export)
            is_quick = name in QUICK and not is_export
            marks = () if is_quick else pytest.mark.slow
            yield pytest.param(name, parity, id=f"{name}-{parity}", marks=marks)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(("name", "parity"), list(cases()))
def test_parity(name, parity, tmp_path):
    value = PARITIES[parity](name, build(name), tmp_path)
    assert value is None or value <= TOLERANCE  # None: there is no task that exports the model


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backends")
    run_all(folder, list(FAMILIES))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_backends(name, backends):
    assert differences(backends, name) <= TOLERANCE
