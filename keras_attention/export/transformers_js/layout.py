"""Names of the files, and of the inputs and outputs of the decoder."""

ENCODER, DECODER = "encoder_model", "decoder_model_merged"
ENCODER_FILE, DECODER_FILE = (f"onnx/{name}.onnx" for name in (ENCODER, DECODER))
PAST, PRESENT = "past_key_values", "present"
# Names of free sizes. transformers.js makes the first caches of `batch_size` rows and 0 positions.
BATCH, SOURCE = "batch_size", "encoder_sequence_length"
LENGTHS = {PAST: "past_decoder_sequence_length", PRESENT: "decoder_sequence_length"}
