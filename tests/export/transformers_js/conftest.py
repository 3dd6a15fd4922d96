"""An export of a small Transformer, with two tokenizers of characters."""

import pytest

from exports import Export, small_translator, write_once
from keras_attention.generation import GreedySearch
from small_transformers import build_transformer


@pytest.fixture(scope="session")
def task():
    return small_translator(GreedySearch(max_new_tokens=9), build=build_transformer)


@pytest.fixture(scope="session")
def written(task, samples, tmp_path_factory) -> Export:
    """Tests must not change it."""

    def write(folder):
        return task.export(folder, "transformers_js", samples)

    return Export(*write_once(tmp_path_factory, "small transformers_js", write))
