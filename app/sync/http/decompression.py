"""Content codings (RFC 9110, 8.4.1), decompressed up to a given size only."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
from backports import zstd

_MAX_WINDOW_LOG = 23
"""8 MB, the limit of RFC 9659: a frame may declare a far larger window than its content needs."""


class Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most `max_length` bytes of output. Raises one of `DECOMPRESSION_ERRORS`."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the end of the content was reached."""
        ...


class _BrotliDecompressor:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        output: bytes = self._inner.process(data, output_buffer_limit=max_length)
        return output

    @property
    def eof(self) -> bool:
        return bool(self._inner.is_finished())


def _gzip() -> Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})


DECOMPRESSORS: dict[str, Callable[[], Decompressor]] = {"gzip": _gzip, "br": _BrotliDecompressor, "zstd": _zstd}
DECOMPRESSION_ERRORS = (zlib.error, brotli.error, zstd.ZstdError)
