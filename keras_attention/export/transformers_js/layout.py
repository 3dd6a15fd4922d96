"""Names of the files, and of the inputs and outputs of the graphs."""

ENCODER, DECODER = "encoder_model", "decoder_model_merged"
LANGUAGE_MODEL = "model"
ENCODER_FILE, DECODER_FILE, LANGUAGE_MODEL_FILE = (
    f"onnx/{name}.onnx" for name in (ENCODER, DECODER, LANGUAGE_MODEL)
)
MARKERS = "export.json", "generation_config.json"  # each export has both, and no other folder
PAST, PRESENT = "past_key_values", "present"
# Names of free sizes. transformers.js makes the first caches of `batch_size` rows and 0 positions.
BATCH, SOURCE, SEQUENCE = "batch_size", "encoder_sequence_length", "sequence_length"
LENGTHS = {PAST: "past_decoder_sequence_length", PRESENT: "decoder_sequence_length"}
PAST_LENGTH, TOTAL_LENGTH = "past_sequence_length", "total_sequence_length"
