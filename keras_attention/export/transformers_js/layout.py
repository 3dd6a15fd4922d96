"""Names of the files, and of the inputs and outputs of the graphs."""

ENCODER, DECODER = "encoder_model", "decoder_model_merged"
LANGUAGE_MODEL = "model"
# transformers.js calls a precision `dtype`, which selects the files by the end of their names.
DTYPES = {"float32": "fp32", "float16": "fp16", "int8": "q8"}
SUFFIXES = {"float32": "", "float16": "_fp16", "int8": "_quantized"}
MARKERS = "export.json", "generation_config.json"  # each export has both, and no other folder
PAST, PRESENT = "past_key_values", "present"
# Names of free sizes. transformers.js makes the first caches of `batch_size` rows and 0 positions.
BATCH, SOURCE, SEQUENCE = "batch_size", "encoder_sequence_length", "sequence_length"
LENGTHS = {PAST: "past_decoder_sequence_length", PRESENT: "decoder_sequence_length"}
PAST_LENGTH, TOTAL_LENGTH = "past_sequence_length", "total_sequence_length"


def graph_file(name: str, weights: str) -> str:
    """Returns the path in the folder of a graph with weights of a precision."""
    return f"onnx/{name}{SUFFIXES[weights]}.onnx"
