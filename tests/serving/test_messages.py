"""Bodies of requests and responses, compared with the documentation of TensorFlow Serving."""

import json

import numpy as np
import pytest

from keras_attention.export.saved_model.c_api import STRING, Signature, Tensor
from keras_attention.serving.errors import RequestError, error_of_session
from keras_attention.serving.messages import (
    describe_signatures,
    format_outputs,
    parse_predict_request,
)

INT32, FLOAT, BOOL = 3, 1, 10
TEXT = Tensor("text:0", STRING, (None,))
SIGNATURES = {
    "serving_default": Signature({"text": TEXT}, {}, {}),
    "with_options": Signature(
        {"text": TEXT, "num_beams": Tensor("beams:0", INT32, (None,))}, {}, {"num_beams": [4]}
    ),
    "pair": Signature(
        {"a": Tensor("a:0", FLOAT, (None, 2)), "b": Tensor("b:0", BOOL, (None,))}, {}, {}
    ),
}


def parse(**content):
    return parse_predict_request(json.dumps(content).encode(), SIGNATURES)


def test_rows_and_columns():
    assert parse(instances=["a", "b"]) == ("serving_default", {"text": ["a", "b"]}, True)
    assert parse(inputs=["a"]) == parse(inputs={"text": ["a"]})
    assert parse(inputs={"text": ["a"]}) == ("serving_default", {"text": ["a"]}, False)
    rows = [{"a": [1, 2], "b": True}, {"a": [3.5, 4], "b": False}]
    columns = {"a": [[1, 2], [3.5, 4]], "b": [True, False]}
    assert parse(signature_name="pair", instances=rows) == ("pair", columns, True)
    assert parse(signature_name="pair", inputs=columns).inputs == columns


def test_optional_inputs():
    request = parse(signature_name="with_options", inputs={"text": ["a"]})
    assert request.inputs == {"text": ["a"]}
    assert parse(signature_name="with_options", instances=["a"]).inputs == {"text": ["a"]}
    rows = [{"text": "a", "num_beams": 1}, {"text": "b", "num_beams": 2}]
    request = parse(signature_name="with_options", instances=rows)
    assert request.inputs == {"text": ["a", "b"], "num_beams": [1, 2]}


def test_base64():
    image = {"b64": "iVBORw=="}
    assert parse(instances=[image]).inputs == {"text": [b"\x89PNG"]}
    assert parse(inputs={"text": [image, "a"]}).inputs == {"text": [b"\x89PNG", "a"]}
    assert parse(instances=[{"text": image}]).inputs == {"text": [b"\x89PNG"]}


@pytest.mark.parametrize(
    "body, message",
    [
        ("", "JSON Parse error"),
        ("{", "JSON Parse error"),
        ("[" * 100_000, "JSON Parse error"),
        ('{"inputs": ' + "[" * 600 + "]" * 600 + "}", "nested too deeply"),
        ("[1]", "Is not object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs": ["a"], "instances": ["a"]}', "only one of 'inputs' or 'instances'"),
        ('{"instances": {}}', "Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": [1]}', "JSON Value: 1 Type: Number is not of expected type: string"),
        ('{"instances": [{"b64": "?"}]}', "Unable to base64 decode"),
        ('{"instances": [{"text": "a"}, "b"]}', "got list at item 1 of input list"),
        ('{"instances": [{"text": "a"}, {}]}', "element: 1 .* keys must be equal to: text"),
        ('{"instances": [{"other": "a"}]}', "does not have named input: other"),
        ('{"inputs": {}}', "Missing named input: text in 'inputs' object."),
        ('{"inputs": {"text": [null]}}', "Type: Null is not of expected type: string"),
        ('{"signature_name": "x", "inputs": []}', 'name: "x" not found in signature def'),
        ('{"signature_name": 1, "inputs": []}', "must be a string"),
        ('{"signature_name": "pair", "instances": [1]}', "expecting objects"),
        (
            '{"signature_name": "pair", "inputs": {"a": [[true, 1]], "b": [true]}}',
            "JSON Value: True Type: True is not of expected type: float",
        ),
        (
            '{"signature_name": "pair", "inputs": {"a": [[0, 1]], "b": [1]}}',
            "Type: Number is not of expected type: bool",
        ),
    ],
)
def test_malformed_requests(body, message):
    with pytest.raises(RequestError, match=message) as error:
        parse_predict_request(body.encode(), SIGNATURES)
    assert error.value.status == 400


def test_outputs_in_rows_and_columns():
    outputs = {
        "text": np.array([b"\xc3\xa4", b"b"], object),
        "score": np.array([-0.1, 2.0], "float32"),
        "ids": np.array([[1], [2]]),
    }
    assert json.loads(format_outputs(outputs, has_rows=True)) == {
        "predictions": [
            {"ids": [1], "score": -0.1, "text": "ä"},
            {"ids": [2], "score": 2.0, "text": "b"},
        ]
    }
    assert json.loads(format_outputs(outputs, has_rows=False)) == {
        "outputs": {"ids": [[1], [2]], "score": [-0.1, 2.0], "text": ["ä", "b"]}
    }


def test_one_output_has_no_name():
    outputs = {"x": np.array([[1.5, np.nan], [np.inf, 1e-8]], "float32")}
    assert format_outputs(outputs, has_rows=True) == (
        '{"predictions": [[1.5, NaN], [Infinity, 1e-08]]}'
    )
    assert format_outputs(outputs, has_rows=False).startswith('{"outputs": [[1.5, ')


def test_outputs_of_bytes_and_of_other_batch_sizes():
    outputs = {"image_bytes": np.array([b"\x89PNG"], object)}
    assert json.loads(format_outputs(outputs, has_rows=True)) == {
        "predictions": [{"b64": "iVBORw=="}]
    }
    outputs["other"] = np.zeros(2)
    with pytest.raises(RequestError, match="inconsistent batch sizes"):
        format_outputs(outputs, has_rows=True)


def test_metadata():
    described = json.loads(describe_signatures("dates", 3, SIGNATURES))
    assert described["model_spec"] == {"name": "dates", "signature_name": "", "version": "3"}
    definition = described["metadata"]["signature_def"]["signature_def"]["pair"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["a"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
        "name": "a:0",
    }


def test_status_of_errors():
    assert error_of_session(ValueError("no such image (TF_Code 3)")).status == 400
    assert error_of_session(ValueError("out of memory (TF_Code 8)")).status == 429
    assert error_of_session(ValueError("`text` must be strings.")).status == 400
