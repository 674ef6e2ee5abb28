"""Sizes of modules as they are delivered: without names and debug information, which no engine needs and which
some tools drop and others keep."""
import gzip
from pathlib import Path

DROPPED = ("name", ".debug_", "sourceMappingURL", "external_debug_info", "producers", "target_features")


def sizes(path):
    """Bytes, and bytes after gzip -9."""
    stripped = strip(Path(path).read_bytes())
    return len(stripped), len(gzip.compress(stripped, 9, mtime=0))


def strip(wasm):
    kept, position = [wasm[:8]], 8
    while position < len(wasm):
        begin, kind = position, wasm[position]
        size, position = leb128(wasm, position + 1)
        body, position = position, position + size
        if kind == 0:
            length, at = leb128(wasm, body)
            if wasm[at:at + length].decode(errors="replace").startswith(DROPPED):
                continue
        kept.append(wasm[begin:position])
    return b"".join(kept)


def leb128(wasm, position):
    """An unsigned number, and where the next one begins."""
    value = shift = 0
    while True:
        byte = wasm[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
