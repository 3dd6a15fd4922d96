import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import run_script
from keras_attention.tasks import Captioner

EXAMPLE = Path(__file__).parents[2] / "examples" / "caption_photos.py"


@pytest.fixture
def flickr8k_folder(tmp_path):
    """A data set of four random images in the layout of Flickr8k."""
    photos = tmp_path / "flickr8k" / "Flicker8k_Dataset"
    photos.mkdir(parents=True)
    rng, names = np.random.default_rng(0), [f"{i}.jpg" for i in range(4)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), "uint8")).save(photos / name)
    captions = [
        f"{name}#{k}\tA {color} dog runs ."
        for name in names
        for k, color in enumerate(["black", "white", "small", "big", "wet"])
    ]
    folder = photos.parent
    (folder / "Flickr8k.token.txt").write_text("\n".join(captions))
    (folder / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:3]))
    (folder / "Flickr_8k.devImages.txt").write_text(names[3])
    return folder


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_it_trains_and_scores_captioners_and_resumes(flickr8k_folder, tmp_path):
    options = f"{flickr8k_folder} --word-epochs 1 --epochs 1 --views 2 --size 32 --output model"
    outputs = []
    for _ in range(2):
        outputs.append(run_script(EXAMPLE, options, tmp_path))
    first, second = outputs
    for attention in ("soft", "none"):
        assert re.search(rf"^{attention} bleu4: [\d.]+ ", first, re.M)
        assert f"{attention}: 1 of 1 captions are distinct" in first
        assert Captioner.load(tmp_path / "model" / f"{attention}-task").image_size == (32, 32)
    assert first.count(" loss: ") == 3 and " loss: " not in second  # completed trainings
