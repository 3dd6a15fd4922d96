"""TFLite export: writer, additional signatures, reduced precision and the LiteRT runner."""
