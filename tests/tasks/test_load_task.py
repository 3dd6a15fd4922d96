"""A saved task says of which kind it is."""

import json

import pytest

from keras_attention.tasks import TextClassifier, TextTagger, load_task

pytestmark = pytest.mark.tensorflow_only


@pytest.mark.parametrize(("kind", "expected"), [("label", TextClassifier), ("tags", TextTagger)])
def test_the_kind_is_read(make_labeler, tmp_path, kind, expected):
    task = make_labeler(kind, ["a", "b"])
    task.save(tmp_path / "task")
    opened = load_task(tmp_path / "task")
    assert type(opened) is expected
    assert opened(["abc", "de"]) == task(["abc", "de"])


def test_an_unknown_kind(tmp_path):
    (tmp_path / "task.json").write_text(json.dumps({"task": "Juggler"}))
    with pytest.raises(ValueError, match=r"expected a task of \['Captioner', .* Received: 'Jugg"):
        load_task(tmp_path)
