"""The four ids that every vocabulary of the library begins with."""

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("[PAD]", "[START]", "[END]", "[UNK]")


def check_vocabulary_size(size: int) -> None:
    """Raises a `ValueError` unless there is a token beside the four special ones."""
    if size <= len(SPECIALS):
        raise ValueError(
            f"vocabulary_size: expected more than the {len(SPECIALS)} special tokens "
            f"{SPECIALS}. Received: vocabulary_size={size}"
        )
