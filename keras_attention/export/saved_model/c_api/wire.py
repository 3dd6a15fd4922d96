"""Protobuf wire format: reads the fields of a message and writes string and message fields.

See https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def string_value(message: memoryview, number: int) -> str:
    """Returns the string in field `number` of a message, or `""` if the field is absent."""
    return b"".join(field_values(message, number)).decode()


def field_values(message: memoryview, number: int) -> list:
    """Returns all values of field `number`: integers, or the bytes of strings and messages."""
    return [value for field, value in _parse_fields(message) if field == number]


def _parse_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and value of each field in a message."""
    offset = 0
    value: int | memoryview
    while offset < len(message):
        tag, offset = _read_varint(message, offset)
        wire_type = tag & 7
        if wire_type == VARINT:
            value, offset = _read_varint(message, offset)
        else:
            if wire_type == LENGTH_DELIMITED:
                size, offset = _read_varint(message, offset)
            else:
                size = FIXED_SIZES[wire_type]
            value, offset = message[offset : offset + size], offset + size
        yield tag >> 3, value


def _read_varint(message: memoryview, offset: int) -> tuple[int, int]:
    """Reads a variable-length integer and returns it with the offset after it."""
    value = shift = 0
    while True:
        byte, offset = message[offset], offset + 1
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, offset


def encode_field(number: int, value: bytes | str) -> bytes:
    """Encodes a string or a serialized message as a field of another message."""
    value = value.encode() if isinstance(value, str) else value
    return _encode_varint(number << 3 | LENGTH_DELIMITED) + _encode_varint(len(value)) + value


def _encode_varint(number: int) -> bytes:
    """Encodes an integer with 7 bits in each byte."""
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128]) + _encode_varint(number >> 7)
