"""SavedModel export: writer, verification with TensorFlow's C API, and files for TF Serving."""
