"""All parities hold for all models; the table of differences is in docs/reliability.md."""

import pytest

from parities.backends import differences, run_all
from parities.checks import (
    GENERATION,
    PARITIES,
    TOLERANCE,
    keras_export,
    onnx_file,
)
from parities.families import FAMILIES, build

pytestmark = pytest.mark.tensorflow_only

# An RNN and a Transformer; the tests of the others are exhaustive.
CHOSEN = (
    "RNN, Bahdanau, tied, sampled",
    "Transformer, rotary, grouped queries, sandwich",
)

# Models whose ONNX files and `model.export` are tested; the table has them of all.
EXPORTED = (
    *CHOSEN,
    "causal language model, rotary",
    "captioner, soft",
    "classifier",
    "RNN, Luong, input feeding, stacked LSTM",
    "RNN, monotonic, recursive",
    "Transformer, ALiBi, window",
    "Transformer, post, marian, sampled",  # with GELU
)


def marks_of(name):
    return [pytest.mark.slow, *([] if name in CHOSEN else [pytest.mark.exhaustive])]


def cases():
    for name in FAMILIES:
        for parity, check in PARITIES.items():
            if FAMILIES[name].strategy is None and check in GENERATION:
                continue
            if check in (onnx_file, keras_export) and name not in EXPORTED:
                continue
            yield pytest.param(name, parity, id=f"{name}-{parity}", marks=marks_of(name))


@pytest.mark.parametrize(("name", "parity"), list(cases()))
def test_parity(name, parity, tmp_path):
    value = PARITIES[parity](name, build(name), tmp_path)
    assert value is None or value <= TOLERANCE  # None: there is no task that exports the model


@pytest.fixture(scope="module")
def backends(tmp_path_factory, request):
    selected = [each for each in request.session.items if each.name.startswith("test_backends[")]
    folder = tmp_path_factory.mktemp("backends")
    run_all(folder, [each.callspec.params["name"] for each in selected])
    return folder


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in FAMILIES])
def test_backends(name, backends):
    assert differences(backends, name) <= TOLERANCE
