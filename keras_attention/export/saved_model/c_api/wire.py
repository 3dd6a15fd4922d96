"""Protobuf's wire format: as much as signatures and requests need."""

from collections.abc import Iterator
from typing import Any


def string(message: memoryview, number: int) -> str:
    """The value of a field that is one string; without it, an empty one."""
    return b"".join(values(message, number)).decode()


def values(message: memoryview, number: int) -> list:
    """The values of a field of a protobuf message: integers, or bytes of strings and messages."""
    return [value for field, value in _fields(message) if field == number]


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        else:
            size, place = _varint(message, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
            value, place = message[place : place + size], place + size
        yield tag >> 3, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and the place after it."""
    value = shift = 0
    while True:
        byte, place = message[place], place + 1
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, place


def field(number: int, value: bytes | str) -> bytes:
    """A string or message, to be written as a field of another message."""
    value = value.encode() if isinstance(value, str) else value
    return _written(number << 3 | 2) + _written(len(value)) + value


def _written(number: int) -> bytes:
    """An integer, 7 bits a byte."""
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128]) + _written(number >> 7)
