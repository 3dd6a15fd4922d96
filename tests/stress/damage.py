"""Damage to files: truncation, bit flips, claimed sizes, deep nesting, wrong types, bombs."""

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

HUGE = [0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 10**9, 2**63, 2**64 - 1]
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**9, 10**30, "", "\x1b[31mred\n", "\ud800", [], [[]], {}, [1],
    float("nan"), {"class_name": "Dense"}, "x" * 10_000, list(range(1000)),
]  # fmt: skip


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def swap_bytes(data: bytes, rng: random.Random) -> bytes:
    size = rng.choice([1, 2, 4, 16, 256])
    first, second = sorted(rng.randrange(len(data)) for _ in range(2))
    a, b = data[first : first + size], data[second : second + size]
    return data[:first] + b + data[first + size : second] + a + data[second + size :]


def repeat_part(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice([1, 10, 1000])]
    return data[:start] + part * rng.choice([2, 10, 1000]) + data[start:]


def clear_part(data: bytes, rng: random.Random) -> bytes:
    start, size = rng.randrange(len(data)), rng.choice([1, 4, 64, 1024])
    filler = rng.choice([b"\0", b"\xff", b"\x1b", b"\n"])
    return data[:start] + filler * size + data[start + size :]


def claim_size(data: bytes, rng: random.Random) -> bytes:
    """Overwrites an integer, most often near the start of the file, with a large one."""
    size, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
    end = rng.choice([32, 256, len(data)])
    start = rng.randrange(min(end, len(data)))
    number = rng.choice(HUGE) % 256**size
    return data[:start] + number.to_bytes(size, order) + data[start + size :]


def noise(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 16, 1000, 100_000]))


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Replaces, removes or deeply nests a value; other files are returned with flipped bits."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return flip_bits(data, rng)
    for _ in range(rng.choice([1, 1, 2])):
        parent, key = content, None
        while isinstance(parent, dict | list) and parent:
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = rng.choice(keys)
            if not isinstance(parent[key], dict | list) or rng.random() < 0.3:
                break
            parent = parent[key]
        if key is None or not isinstance(parent, dict | list) or not parent:
            return json.dumps(rng.choice(VALUES)).encode("utf-8", "surrogatepass")
        if rng.random() < 0.2:
            del parent[key]
        elif rng.random() < 0.1:
            marker = "the value that is replaced"
            parent[key] = marker
            depth = rng.choice([100, 1000, 100_000])
            nested = "[" * depth + "]" * depth
            return json.dumps(content).replace(f'"{marker}"', nested).encode()
        else:
            parent[key] = rng.choice(VALUES)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def change_archive(data: bytes, rng: random.Random) -> bytes:
    """Damages a member of a zip archive and writes the archive anew, with right checksums.

    One archive in ten is compressed, one in ten has a member of 256 MiB that is compressed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError):
        return flip_bits(data, rng)
    # Small members, such as config.json, decide what is done with the others.
    name = min(rng.sample(sorted(members), min(2, len(members))), key=lambda x: len(members[x]))
    kind = rng.random()
    compression = zipfile.ZIP_DEFLATED if kind < 0.2 else zipfile.ZIP_STORED
    bomb = kind < 0.1
    members[name] = members[name] if bomb else damage(members[name], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member, content in members.items():
            with archive.open(member, "w") as stream:
                stream.write(content)
                for _ in range(256 if bomb and member == name else 0):
                    stream.write(bytes(2**20))
    return file.getvalue()


def change_gzip(data: bytes, rng: random.Random) -> bytes:
    """Damages the content of a gzip file, or replaces it by a bomb of up to 256 MiB."""
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError):
        return flip_bits(data, rng)
    if rng.random() < 0.1:
        unit = rng.choice([b"\n", b"a", b"a\n", b"\0"])
        return gzip.compress(unit * rng.choice([2**21, 2**25, 2**28 // len(unit)]), 6)
    return gzip.compress(damage(content, rng), 1)


def change_sentencepiece(data: bytes, rng: random.Random) -> bytes:
    """Damages a field of a SentencePiece model, which stays a valid message."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    model = ModelProto.FromString(data)
    for _ in range(rng.choice([1, 3])):
        kind, piece = rng.randrange(6), rng.choice(model.pieces)
        if kind == 0:  # compiled rules of the normalization: a table of offsets
            rules = model.normalizer_spec.precompiled_charsmap or b"\0" * 2048
            model.normalizer_spec.precompiled_charsmap = damage(rules, rng)
        elif kind == 1:
            piece.score = rng.choice([float("nan"), float("inf"), -1e38, 0.0])
        elif kind == 2:
            piece.type = rng.randrange(1, 7)
        elif kind == 3:
            piece.piece = rng.choice(["", "▁", "<0xZZ>", "<0x41>", "x" * 10_000, "\x1b[31m"])
        elif kind == 4:
            del model.pieces[rng.randrange(len(model.pieces)) :]
            model.pieces.add().piece = "y"
        else:
            model.trainer_spec.unk_id = rng.choice([-1, 0, 10, 2**31 - 1])
            model.trainer_spec.model_type = rng.randrange(1, 5)
    return model.SerializeToString()


GENERAL: list[Callable[[bytes, random.Random], bytes]] = [
    truncate, flip_bits, swap_bytes, repeat_part, clear_part, claim_size, noise,
]  # fmt: skip


def damage(data: bytes, rng: random.Random) -> bytes:
    """Returns the content of a file with damage of a random kind that suits its format."""
    kinds = list(GENERAL) if data else [noise]
    if data[:1] == b"{":
        kinds += [change_json] * 6
    if data[:2] == b"PK":
        kinds += [change_archive] * 6
    if data[:2] == b"\x1f\x8b":
        kinds += [change_gzip] * 3
    if data[:1] == b"\n" and b"[UNK]" in data:
        kinds += [change_sentencepiece] * 6
    return rng.choice(kinds)(data, rng)
