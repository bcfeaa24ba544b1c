"""Where transcripts stand: files, URLs and standard input, as places to read from.

What is packed with gzip or Zstandard is unpacked on the way, told by its first bytes. Nothing is
unpacked as a whole: a place is a stream, so that a small file which unpacks to a vast one costs no
more memory than any other.
"""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

from ...errors import InputError, MissingExtra

__all__ = ["STDIN", "Place", "Stream", "remote", "stdin_place"]

STDIN = "-"
"""What stands for standard input among the paths."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 2**20
_PIECE = 2**10
"""Packed bytes that are handed to Zstandard at once: more could unpack to more than memory holds."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An open place."""

    file: BinaryIO
    """Unpacked. It can be sought in only where `packed` is false."""
    packed: bool
    done: Callable[[], int]
    """How far into the place the reading is, in bytes as they are stored."""
    damage: Callable[[], str] = str
    """Once the end is reached: why that is not the true end, where what was packed is damaged; else empty."""


@dataclass(frozen=True)
class Place:
    """One file, wherever it is."""

    name: str
    """As the user named it."""
    path: Path | None
    """Where it is on this machine; None where it is elsewhere."""
    keep: object = None
    """What has to live as long as the place: a temporary file."""

    @property
    def size(self) -> int:
        """The size in bytes as stored, 0 where it is not known."""
        if self.path is not None:
            return self.path.stat().st_size
        with _reading(self.name):
            system, inside = remote(self.name)
            return int(system.size(inside) or 0)

    def is_at(self, path: Path) -> bool:
        """Return whether this is the file at `path`, by whatever name."""
        return self.path is not None and path.exists() and path.samefile(self.path)

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Open the place and unpack it.

        Raises:
            InputError: It cannot be opened or read.
            MissingExtra: It is packed, or elsewhere, and what reads that is not installed.
        """
        with _reading(self.name), ExitStack() as stack:
            raw = stack.enter_context(self._raw())
            head = raw.read(4)
            raw.seek(0)
            unpacked = _unpacked(raw, head)
            if unpacked is None:
                yield Stream(raw, packed=False, done=raw.tell)
            else:
                guarded = _Guarded(unpacked)
                file = cast(BinaryIO, stack.enter_context(io.BufferedReader(guarded, _BLOCK)))
                yield Stream(file, packed=True, done=raw.tell, damage=lambda: guarded.damage)

    @contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """Open the place where it is, unless it has to be unpacked as a whole to be sought in."""
        with self.open() as stream:
            if not stream.packed:
                yield stream.file
                return
        with self.local() as path, path.open("rb") as file:
            yield file

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Give the path of an unpacked file on this machine; a copy, where it has to be one."""
        with self.open() as stream:
            if self.path is not None and not stream.packed:
                yield self.path
                return
            suffix = Path(self.name).suffix
            with NamedTemporaryFile(suffix="" if stream.packed else suffix) as copy:
                shutil.copyfileobj(stream.file, copy, _BLOCK)
                copy.flush()
                if stream.damage():
                    raise InputError(f"cannot read {self.name}: {stream.damage()}")
                yield Path(copy.name)

    def _raw(self) -> BinaryIO:
        if self.path is not None:
            return self.path.open("rb")
        system, inside = remote(self.name)
        return cast(BinaryIO, system.open(inside, "rb"))


def stdin_place() -> Place:
    """Set standard input aside in a temporary file, since a transcript is read twice."""
    copy = NamedTemporaryFile()  # noqa: SIM115  (lives as long as the place)
    shutil.copyfileobj(sys.stdin.buffer, copy, _BLOCK)
    copy.flush()
    return Place(STDIN, Path(copy.name), keep=copy)


def remote(url: str) -> tuple[Any, str]:
    """Return the file system that a URL speaks of, and the path in it.

    Raises:
        InputError: There is no such file system.
        MissingExtra: fsspec is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra("reading from a URL", "remote") from None
    try:
        system, inside = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot read {url}: {error}") from error
    return system, inside


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Say in one line which place could not be read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error


def _unpacked(raw: BinaryIO, head: bytes) -> Any:
    """Return the reader for what is packed so, None for what is not packed."""
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(_ZSTD):
        try:
            import zstandard
        except ImportError:
            raise MissingExtra("reading Zstandard files", "zstd") from None
        return _Zstandard(raw, zstandard.ZstdDecompressor().decompressobj)
    return None


class _Zstandard:
    """Unpacks Zstandard frames; notices where the last is cut off, as the library's reader does not."""

    def __init__(self, raw: BinaryIO, new: Callable[[], Any]) -> None:
        self._raw, self._new, self._frame = raw, new, new()
        self._rest = self._ready = b""

    def read1(self, size: int) -> bytes:
        while not self._ready:
            packed = self._rest or self._raw.read(_PIECE)
            if not packed and self._frame is not None:
                raise EOFError("cut off")
            if not packed:
                return b""
            self._frame = self._frame or self._new()
            self._ready = self._frame.decompress(packed)
            self._rest = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


class _Guarded(io.RawIOBase):
    """Ends where the data is damaged, and says so, whatever the libraries raise there."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.damage:
            return 0
        try:
            data = self._inner.read1(len(buffer))  # one piece: what came before a break is not lost
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            data, self.damage = b"", f"damaged, nothing after this can be read: {error}"
        except Exception as error:
            if type(error).__module__.split(".")[0] != "zstandard":
                raise
            data, self.damage = b"", "damaged, nothing after this can be read: no Zstandard from here on"
        buffer[: len(data)] = data
        return len(data)
