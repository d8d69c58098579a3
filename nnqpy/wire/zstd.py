"""zstd+tcp: every message of a connection is compressed, or says that it is not (NNQ's RFC for zstd).

    message   length, u64 big-endian | payload
    payload   00 00 00 00 | body             the body as it is
              28 B5 2F FD ...                one zstd frame, which says how long its content is
              37 A4 30 EC ...                a zstd dictionary: no message, but what later frames refer to

Nothing is negotiated: both ends have chosen the scheme. Each direction of each connection has at most one dictionary,
sent in front of the first frame that needs it. What is of a connection stands in its `Zstd` alone; the connections of a
socket share only what does not depend on who is at the other end: compressors and the dictionary that was trained.

A dictionary is at the other end as soon as a byte of the write that carries it went, and not before: see `Zstd.begun`.
What arrives is looked at without a change to the connection: see `Zstd.unpack`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from nnqpy.errors import ProtocolError, Reason
from nnqpy.message import Batch
from nnqpy.wire.stream import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backports.zstd import ZstdCompressor, ZstdDecompressor, ZstdDict

__all__ = [
    "DICTIONARY_MAX",
    "LEVEL_MAX",
    "LEVEL_MIN",
    "SAVING_MIN",
    "SENTINEL_SIZE",
    "THRESHOLD",
    "THRESHOLD_WITH_DICTIONARY",
    "TRAINED_MAX",
    "TRAINING_BYTES",
    "TRAINING_SAMPLES",
    "TRAINING_SAMPLE_MAX",
    "Trainer",
    "Zstd",
    "ZstdConfig",
    "payload_limit",
]

LEVEL_MIN: Final = -131072
LEVEL_MAX: Final = 22

SENTINEL_SIZE: Final = 4
"""Bytes that each payload begins with, and that say what it is."""
THRESHOLD: Final = 512
"""Bytes of a body from which on it is compressed without a dictionary."""
THRESHOLD_WITH_DICTIONARY: Final = 64
"""Bytes of a body from which on it is compressed with a dictionary."""
SAVING_MIN: Final = 4
"""Bytes that compression must save, or the body goes as it is."""
DICTIONARY_MAX: Final = 64 * 1024
"""Bytes of the largest dictionary that is sent or taken."""

TRAINING_SAMPLES: Final = 1000
"""Messages that a dictionary is trained from, or as many as come to `TRAINING_BYTES`, whichever is reached first."""
TRAINING_BYTES: Final = 100 * 1024
TRAINING_SAMPLE_MAX: Final = 1024
"""Bytes of the largest message that is a sample."""
TRAINED_MAX: Final = 8 * 1024
"""Bytes of a trained dictionary, at most."""

_PLAIN: Final = b"\0\0\0\0"
_FRAME: Final = b"\x28\xb5\x2f\xfd"
_DICTIONARY: Final = b"\x37\xa4\x30\xec"
_HEADER_SIZE: Final = 8

_header: Callable[[int], bytes] = Struct(">Q").pack
_plain_header: Callable[[int, int], bytes] = Struct(">QI").pack


class _FrameInfo(Protocol):
    @property
    def decompressed_size(self) -> int | None: ...  # the stubs leave out the None
    @property
    def dictionary_id(self) -> int: ...


class _Library(NamedTuple):
    """What is used of the zstd library."""

    compressor: type[ZstdCompressor]
    decompressor: type[ZstdDecompressor]
    dictionary: type[ZstdDict]
    error: type[Exception]
    train: Callable[[Iterable[bytes], int], ZstdDict]
    frame_info: Callable[[bytes], _FrameInfo]
    frame_size: Callable[[bytes], int]


@cache
def _library() -> _Library:
    """Import the zstd library: only who uses zstd+tcp needs one.

    Raises:
        ImportError: there is none.
    """
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        zstd = import_module(name)
    except ImportError as error:
        raise ImportError(
            f"zstd+tcp needs the module {name}, which cannot be imported: install the extra, pip install 'nnqpy[zstd]'"
            " (Python 3.14 and later bring the module themselves, unless built without it)"
        ) from error
    return _Library(
        zstd.ZstdCompressor,
        zstd.ZstdDecompressor,
        zstd.ZstdDict,
        zstd.ZstdError,
        zstd.train_dict,
        zstd.get_frame_info,
        zstd.get_frame_size,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZstdConfig:
    """How the connections of a socket compress what they send; what they receive says itself how it was made.

    Attributes:
        level: of zstd's, from -131072 (fastest) to 22 (smallest).
        dictionary: one of your own, in zstd's format, at most 64 KiB; then none is trained.
        train: make a dictionary from the first messages that are sent.
    """

    level: int = -3
    dictionary: bytes | None = field(default=None, repr=False)
    train: bool = True

    def __post_init__(self) -> None:
        for name, kind, what in (("level", int, "a zstd level (int)"), ("train", bool, "True or False")):
            value = getattr(self, name)
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise TypeError(f"{name} is {what}, not {value!r}")
        if not LEVEL_MIN <= self.level <= LEVEL_MAX:
            raise ValueError(f"level is from {LEVEL_MIN} to {LEVEL_MAX}, not {self.level}")
        if self.dictionary is None:
            return
        if type(self.dictionary) is not bytes:
            raise TypeError(f"dictionary is bytes or None, not {type(self.dictionary).__name__}")
        _loaded(self.dictionary)
        _Packer(self.level, self.dictionary)


def payload_limit(max_size: int) -> int:
    """Return the size of the largest payload that a peer may send, for the framing in front of `Zstd.unpack`.

    A body has a sentinel in front of it, and a dictionary may be larger than any message.

    Args:
        max_size: the largest body to accept, in bytes; negative: any.
    """
    return max(max_size + SENTINEL_SIZE, DICTIONARY_MAX) if max_size >= 0 else max_size


class Trainer:
    """What the connections of one socket share: compressors, and a dictionary trained from what the socket sends.

    Only the holder of the socket's out-turn lets it learn. A `Zstd` may be made by any thread: should two ask for the same
    packer at once, each gets one, and one is kept.

    Raises:
        ImportError: there is no zstd library.
    """

    __slots__ = ("_packers", "_samples", "_size", "dictionary", "learning")

    def __init__(self) -> None:
        _library()
        self.dictionary: bytes | None = None
        """The trained one, once there is one."""
        self.learning = True
        """Samples are still collected; a training that fails ends that for good, too."""
        # By identity: a message that goes to several peers, or that is offered again, is one sample.
        self._samples: dict[int, bytes] = {}
        self._size = 0
        self._packers: dict[tuple[int, bytes | None], _Packer] = {}

    def learn(self, bodies: Iterable[bytes]) -> None:
        """Take samples of what is about to be sent; the one that completes them makes the dictionary."""
        samples = self._samples
        for body in bodies:
            # What is too short to be compressed at all would only dilute what the others have in common.
            length, key = len(body), id(body)
            if THRESHOLD_WITH_DICTIONARY <= length <= TRAINING_SAMPLE_MAX and key not in samples:
                # A commit: stores only, no call.
                samples[key] = body
                self._size += length
            if self._size >= TRAINING_BYTES or len(samples) >= TRAINING_SAMPLES:
                self._train()
                return

    def _train(self) -> None:
        library = _library()
        dictionary: bytes | None = None
        # Whatever goes wrong: all works without a dictionary, and the next try would cost as much.
        with suppress(Exception):
            # Its id is in 32768..2**31-1: the library sees to that (zdict.c, compliantID).
            trained = library.train(self._samples.values(), TRAINED_MAX).dict_content
            _loaded(trained)
            dictionary = trained
        samples: dict[int, bytes] = {}
        # A commit: stores only, no call.
        self.dictionary = dictionary
        self.learning = False
        self._samples = samples

    def packer(self, level: int, dictionary: bytes | None) -> _Packer:
        """Return the one packer for a level and a dictionary."""
        key = level, dictionary
        packer = self._packers.get(key)
        if packer is None:
            packer = self._packers[key] = _Packer(level, dictionary)
        return packer


class _Packer:
    """One way to make frames: a compressor, used again for each message (a new one costs ten times a small message)."""

    __slots__ = ("_compress", "_to_the_end", "dictionary", "key", "shipment", "threshold")

    def __init__(self, level: int, dictionary: bytes | None) -> None:
        library = _library()
        self.dictionary = dictionary
        self.key = level, dictionary
        if dictionary is None:
            compressor = library.compressor(level=level)
            self.threshold = THRESHOLD
            self.shipment = b""
        else:
            try:
                known = library.dictionary(dictionary).as_digested_dict
                compressor = library.compressor(level=level, zstd_dict=known)
            except library.error as error:
                raise ValueError(f"a dictionary of {len(dictionary)} bytes cannot be used to compress") from error
            self.threshold = THRESHOLD_WITH_DICTIONARY
            self.shipment = _header(len(dictionary)) + dictionary
            """The dictionary's own frame."""
        self._compress = compressor.compress
        # All of a frame in one call: so the library knows the size of the content and writes it down.
        self._to_the_end: Literal[2] = compressor.FLUSH_FRAME

    def frames(self, bodies: Iterable[bytes]) -> list[bytes]:
        compress, to_the_end, threshold = self._compress, self._to_the_end, self.threshold
        frames: list[bytes] = []
        append = frames.append
        for body in bodies:
            size = len(body)
            if size >= threshold:
                packed = compress(body, to_the_end)
                if size - len(packed) >= SAVING_MIN:
                    append(_header(len(packed)) + packed)
                    continue
            append(_plain_header(SENTINEL_SIZE + size, 0) + body)
        return frames


class Zstd:
    """The two directions of one connection: bodies to frames, and payloads to bodies.

    `frames` and `begun` are called by the holder of the out-turn, `unpack` by the holder of the in-turn.

    Attributes:
        received: the dictionary that came from the other end.
        found: what `received` becomes when what the last `unpack` gave is booked.

    Args:
        config: how to compress.
        trainer: the socket's, which all its connections share; `None` for no training, and compressors of its own.

    Raises:
        ImportError: there is no zstd library.
    """

    __slots__ = ("_carrier", "_learns", "_library", "_packer", "_shipped", "_trainer", "found", "received")

    def __init__(self, config: ZstdConfig, trainer: Trainer | None) -> None:
        self._library = _library()
        self._learns = trainer is not None and config.train and config.dictionary is None
        self._trainer = Trainer() if trainer is None else trainer
        self._packer = self._trainer.packer(config.level, config.dictionary)
        self._carrier = -1
        self._shipped = False
        self.received: ZstdDict | None = None
        self.found: ZstdDict | None = None

    # --- out-turn ------------------------------------------------------------------------------------------

    def frames(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Return the complete frame of each body: length, sentinel and content.

        The dictionary's own frame stands in front of the first frame that needs it, in the same `bytes`; until `begun` has
        been told that this went, the next call puts it there again. What was compressed of a `Batch` for one connection
        serves all others with the same level and dictionary.

        Returns:
            As many as there are bodies, in their order; not to be changed.
        """
        trainer, packer = self._trainer, self._packer
        if self._learns:
            if trainer.learning:
                trainer.learn(bodies)
            if packer.dictionary is not trainer.dictionary:
                self._packer = packer = trainer.packer(packer.key[0], trainer.dictionary)
        if type(bodies) is Batch:
            frames = bodies.packed.get(packer.key)
            if frames is None:
                frames = bodies.packed[packer.key] = packer.frames(bodies)
        else:
            frames = packer.frames(bodies)
        carrier = -1
        if packer.shipment and not self._shipped:
            for place, frame in enumerate(frames):
                if frame.startswith(_FRAME, _HEADER_SIZE):
                    carrier = place
                    frames = [*frames[:place], packer.shipment + frame, *frames[place + 1 :]]
                    break
        self._carrier = carrier
        return frames

    def begun(self, whole: int, part: int) -> None:
        """Book how many of the frames of the last `frames` call went.

        Call it before the stores that book the same elsewhere, and with the same numbers again if these were interrupted:
        twice is as once. Between a `frames` of which something went and its `begun` there is no other `frames`.

        Args:
            whole: frames that went whole.
            part: bytes of the next one that went.
        """
        carrier = self._carrier
        if carrier >= 0 and (whole > carrier or (whole == carrier and part > 0)):
            self._shipped = True

    # --- in-turn -------------------------------------------------------------------------------------------

    def unpack(self, payloads: Iterable[bytes], out: list[bytes], max_size: int) -> None:
        """Append the body of each payload to `out`; a dictionary has none.

        Whatever interrupts it, or the caller behind it, the same payloads give the same again: a dictionary among them
        stands in `found`, and counts when the caller stores that in `received`, together with the stores that book the
        bodies.

        Args:
            payloads: what the framing gave, in order.
            out: gets the bodies; those in front of a bad payload are in it when this raises.
            max_size: the largest body to accept, in bytes; negative: any. None larger is made, whatever comes.

        Raises:
            ProtocolError: ZSTD_BAD_SENTINEL, ZSTD_BAD_FRAME, ZSTD_BAD_DICTIONARY or TOO_LARGE, for the first payload that
                is bad.
        """
        append = out.append
        dictionary = self.received
        roof = max_size if 0 <= max_size < MAX_LENGTH else MAX_LENGTH
        for payload in payloads:
            if payload.startswith(_PLAIN):
                if len(payload) - SENTINEL_SIZE > roof:
                    raise _too_large("a message", len(payload) - SENTINEL_SIZE, max_size)
                append(payload[SENTINEL_SIZE:])
            elif payload.startswith(_FRAME):
                append(self._content(payload, dictionary, roof, max_size))
            elif payload.startswith(_DICTIONARY):
                if dictionary is not None:
                    raise ProtocolError(
                        Reason.ZSTD_BAD_DICTIONARY,
                        f"a second dictionary (id {_dictionary_id(payload)}) on a connection that has one"
                        f" (id {dictionary.dict_id}), wanted one at most",
                    )
                try:
                    dictionary = _loaded(payload)
                except ValueError as error:
                    raise ProtocolError(Reason.ZSTD_BAD_DICTIONARY, str(error)) from error
            else:
                found = payload[:SENTINEL_SIZE].hex(" ") or "nothing"
                raise ProtocolError(
                    Reason.ZSTD_BAD_SENTINEL,
                    f"a message of {len(payload)} bytes begins with {found}, wanted 00 00 00 00, 28 b5 2f fd or 37 a4 30 ec:"
                    " is the peer's scheme zstd+tcp, too?",
                )
        self.found = dictionary

    def _content(self, payload: bytes, dictionary: ZstdDict | None, roof: int, max_size: int) -> bytes:
        """Return what one zstd frame holds, which is all of the payload."""
        library = self._library
        try:
            # Both read the headers alone, of the frame and of its blocks.
            info, end = library.frame_info(payload), library.frame_size(payload)
        except library.error as error:
            raise _bad_frame(payload, "is not whole", "a whole one") from error
        size, wanted = info.decompressed_size, info.dictionary_id
        if end != len(payload):
            raise _bad_frame(payload, f"ends {len(payload) - end} bytes before the message", "nothing behind it")
        if size is None:
            raise _bad_frame(payload, "does not say how long its content is", "Frame_Content_Size in its header")
        if size > roof:
            raise _too_large("the content of a zstd frame", size, max_size)
        if not wanted:
            dictionary = None
        elif dictionary is None or dictionary.dict_id != wanted:
            known = "no dictionary" if dictionary is None else f"dictionary {dictionary.dict_id}"
            raise ProtocolError(
                Reason.ZSTD_BAD_DICTIONARY,
                f"a zstd frame needs dictionary {wanted}, this connection has {known}: it must come in front of the frame",
            )
        try:
            # One byte more than there may be: room for a lie to show, and for no more than that.
            body = library.decompressor(zstd_dict=dictionary).decompress(payload, size + 1)
        except library.error as error:
            raise _bad_frame(payload, f"cannot be decompressed ({error})", f"{size} bytes of content") from error
        if len(body) != size:
            raise _bad_frame(payload, f"holds {len(body)} bytes or more", f"the {size} bytes that it announces")
        return body


def _loaded(content: bytes) -> ZstdDict:
    """Return a dictionary ready for use, or refuse what is none (`ValueError`)."""
    library = _library()
    if len(content) > DICTIONARY_MAX:
        raise ValueError(f"a dictionary of {len(content)} bytes, wanted at most {DICTIONARY_MAX}")
    if not content.startswith(_DICTIONARY):
        raise ValueError(
            f"no zstd dictionary: it begins with {content[:SENTINEL_SIZE].hex(' ') or 'nothing'}, wanted 37 a4 30 ec;"
            " make one with train_dict or zstd --train"
        )
    try:
        dictionary = library.dictionary(content)
        library.decompressor(zstd_dict=dictionary)  # reads its tables, too
    except (ValueError, library.error) as error:
        raise ValueError(
            f"a dictionary of {len(content)} bytes cannot be read (id {_dictionary_id(content)}), wanted an id other"
            " than 0, zstd's tables, and content"
        ) from error
    return dictionary


def _dictionary_id(content: bytes) -> int:
    return int.from_bytes(content[SENTINEL_SIZE : SENTINEL_SIZE + 4], "little")


def _bad_frame(payload: bytes, found: str, wanted: str) -> ProtocolError:
    return ProtocolError(
        Reason.ZSTD_BAD_FRAME, f"a zstd frame in a message of {len(payload)} bytes {found}, wanted {wanted}"
    )


def _too_large(what: str, size: int, max_size: int) -> ProtocolError:
    if max_size < 0 or max_size > MAX_LENGTH:
        limit = f"the most that any message may have is {MAX_LENGTH}"
    else:
        limit = f"recv_max_size is {max_size}: raise that option to accept it"
    return ProtocolError(Reason.TOO_LARGE, f"{what} has {size} bytes, {limit}")
