"""The codings in which an answer may come (RFC 9110, 8.4.1), each undone without making more than is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
from backports import zstd

_LARGEST_WINDOW = 23
"""As a power of two: the 8 MB that RFC 9659 allows. A frame may ask for far more memory than its content ever needs."""


class Unpacker(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """What `data` unfolds to. Where that reaches `max_length`, the rest is not made. Raises one of `DAMAGED`."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the content was whole."""
        ...


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        unfolded: bytes = self._inner.process(data, output_buffer_limit=max_length)
        return unfolded

    @property
    def eof(self) -> bool:
        return bool(self._inner.is_finished())


def _gzip() -> Unpacker:
    return zlib.decompressobj(wbits=31)


def _zstd() -> Unpacker:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW})


UNPACKERS: dict[str, Callable[[], Unpacker]] = {"gzip": _gzip, "br": _Brotli, "zstd": _zstd}
DAMAGED = (zlib.error, brotli.error, zstd.ZstdError)
