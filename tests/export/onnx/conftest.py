"""An ONNX export of the small translator, an RNN with beam search."""

import pytest

from exports import Export, write_once


@pytest.fixture(scope="session")
def written(translator, samples, tmp_path_factory) -> Export:
    """Tests must not change it."""

    def write(folder):
        return translator.export(folder, "onnx", samples)

    return Export(*write_once(tmp_path_factory, "small onnx", write))
