"""Tests of the ready-made models in saved_models/."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow_only

DATES = Path(__file__).parents[1] / "saved_models" / "dates"
EXPORTS = (".", "tflite-float32", "tflite-int8")  # "." is the SavedModel's base path
# Written dates and their ISO 8601 forms, by the conventions of docs/dates.md.
PAIRS = {
    "tuesday 3 march 98": "1998-03-03",
    "03/07/2021": "2021-03-07",
    "Sonntag, den 7. März 2021": "2021-03-07",
    "le lundi 1er février 2021": "2021-02-01",
    "9 мая 1975 г.": "1975-05-09",
    "2021年3月7日(日)": "2021-03-07",
    "20210307": "2021-03-07",
}


@pytest.mark.parametrize("name", EXPORTS)
def test_ready_made_models_parse_dates(name):
    from keras_attention.tasks import load_exported

    parse_date = load_exported(DATES / name)
    assert parse_date(list(PAIRS)) == list(PAIRS.values())


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8"])
def test_compiled_model_parses_dates(name):
    from keras_attention.export.tflite.compiled_model import CompiledModelRunner
    from keras_attention.tasks import load_exported

    exported = load_exported(DATES / name)
    compiled = CompiledModelRunner(DATES / name / "model.tflite")
    for texts in (list(PAIRS), list(PAIRS)[::-1]):  # short after long, and long after short
        batch = exported.preprocessor(texts)
        outputs = compiled.call("details", {"source": batch.model_inputs})
        expected = exported.runner(batch.model_inputs, details=True)
        assert (outputs["ids"] == expected["ids"]).all()
        results = exported.postprocessor(outputs, batch)
        assert [result[0].text for result in results] == [PAIRS[text] for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_ready_made_models_pass_their_verification(name):
    from keras_attention.export import verify

    agreement = verify(DATES / name)["agreement"]
    assert agreement["equal"] + agreement.get("ties", 0) == agreement["compared"] > 0


def test_ready_made_models_are_small():
    files = [path for path in DATES.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000


@pytest.mark.parametrize("name", ("1", "tflite-float32", "tflite-int8"))
def test_verification_report_is_beside_the_model(name):
    report = json.loads((DATES / name / "verification.json").read_text(encoding="utf-8"))
    assert report["bytes"]
