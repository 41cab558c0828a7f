"""The codings in which an answer may come (RFC 9110, 8.4.1), each undone without making more than is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
from backports import zstd

_MAX_WINDOW_LOG = 23
"""As a power of two: the 8 MB that RFC 9659 allows. A frame may ask for far more memory than its content ever needs."""


class Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """What `data` unfolds to. Where that reaches `max_length`, the rest is not made. Raises one of `DAMAGED`."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the content was whole."""
        ...


class _BrotliDecompressor:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        unfolded: bytes = self._inner.process(data, output_buffer_limit=max_length)
        return unfolded

    @property
    def eof(self) -> bool:
        return bool(self._inner.is_finished())


def _gzip() -> Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})


DECOMPRESSORS: dict[str, Callable[[], Decompressor]] = {"gzip": _gzip, "br": _BrotliDecompressor, "zstd": _zstd}
DECOMPRESSION_ERRORS = (zlib.error, brotli.error, zstd.ZstdError)
