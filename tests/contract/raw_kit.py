"""The face kit, for raw sockets, a polyamorous Pair1 and devices."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import trio

import nnqpy
import nnqpy.asyncio
import nnqpy.trio
from tests.contract.kit import PATIENCE, Sock, _Blocking, base_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from nnqpy import Message
    from nnqpy.kinds.device import DeviceStats, Side, Tap
    from nnqpy.message import Body
    from tests.contract.kit import Crowd, Face, Job

Kind = Literal[
    "RawPush",
    "RawPull",
    "RawPair",
    "RawPair1",
    "RawPub",
    "RawSub",
    "RawBus",
    "RawReq",
    "RawRep",
    "RawSurveyor",
    "RawRespondent",
]


class RawSock(Sock, Protocol):
    """A raw socket; one that has not all of these calls says so when it is asked."""

    async def send(
        self,
        message: Message | Body,
        *,
        header: bytes | None = None,
        peer: int | None = None,
        timeout: float | None = None,
    ) -> None: ...
    def send_nowait(self, message: Message | Body, *, header: bytes | None = None, peer: int | None = None) -> None: ...
    async def send_many(self, messages: Iterable[Message | Body], *, timeout: float | None = None) -> int: ...
    async def recv(self, *, timeout: float | None = None) -> Message: ...
    def recv_nowait(self) -> Message: ...
    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[Message]: ...  # noqa: A002
    async def flush(self, timeout: float | None = None) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> Message: ...


class Pair1Sock(Sock, Protocol):
    """A Pair1."""

    async def send(self, body: Body, /, *, peer: int | None = None, timeout: float | None = None) -> None: ...
    def send_nowait(self, body: Body, /, *, peer: int | None = None) -> None: ...
    async def send_many(
        self, bodies: Iterable[Body], /, *, peer: int | None = None, timeout: float | None = None
    ) -> int: ...
    async def recv(self, *, timeout: float | None = None) -> bytes: ...
    def recv_nowait(self) -> bytes: ...
    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[bytes]: ...  # noqa: A002
    async def recv_message(self, *, timeout: float | None = None) -> Message: ...
    async def flush(self, timeout: float | None = None) -> None: ...


class Dev(Protocol):
    """A device."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...
    def stats(self) -> DeviceStats: ...


class _BlockingAny(_Blocking[Any]):
    """A blocking socket with a header, or a peer, on what it sends and receives."""

    async def send(self, message: Message | Body, *, timeout: float | None = None, **to: Any) -> None:
        self.raw.send(message, timeout=timeout, **to)

    def send_nowait(self, message: Message | Body, **to: Any) -> None:
        self.raw.send_nowait(message, **to)

    async def send_many(self, messages: Iterable[Message | Body], *, timeout: float | None = None, **to: Any) -> int:
        sent: int = self.raw.send_many(messages, timeout=timeout, **to)
        return sent

    async def recv(self, *, timeout: float | None = None) -> Any:
        return self.raw.recv(timeout=timeout)

    def recv_nowait(self) -> Any:
        return self.raw.recv_nowait()

    async def recv_many(self, max: int = 256, *, timeout: float | None = None) -> list[Any]:  # noqa: A002
        messages: list[Any] = self.raw.recv_many(max, timeout=timeout)
        return messages

    async def recv_message(self, *, timeout: float | None = None) -> Message:
        message: Message = self.raw.recv_message(timeout=timeout)
        return message

    async def flush(self, timeout: float | None = None) -> None:
        self.raw.flush(timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.raw)
        except StopIteration:
            raise StopAsyncIteration from None


class _BlockingDevice:
    def __init__(self, device: nnqpy.Device) -> None:
        self._device = device
        self.stop = device.stop
        self.stats = device.stats

    async def run(self) -> None:
        self._device.run()


MODULES: dict[str, Any] = {"blocking": nnqpy, "asyncio": nnqpy.asyncio, "trio": nnqpy.trio}


def raw(face: Face, kind: Kind, **settings: Any) -> RawSock:
    """Return a raw socket of a face."""
    made = getattr(MODULES[face.name], kind)(**settings)
    sock: RawSock = _BlockingAny(made) if face.name == "blocking" else made
    return sock


def pair1(face: Face, **settings: Any) -> Pair1Sock:
    """Return a Pair1 of a face."""
    made = MODULES[face.name].Pair1(**settings)
    sock: Pair1Sock = _BlockingAny(made) if face.name == "blocking" else made
    return sock


def device(face: Face, front: Sock, back: Sock | None = None, *, tap: Tap | None = None) -> Dev:
    """Return a device of a face; it does not run yet."""
    made = MODULES[face.name].Device(base_of(front), None if back is None else base_of(back), tap=tap)
    dev: Dev = _BlockingDevice(made) if face.name == "blocking" else made
    return dev


async def carry(face: Face, front: Sock, back: Sock | None = None) -> None:
    """Call the face's `device`."""
    done = MODULES[face.name].device(base_of(front), None if back is None else base_of(back))
    if face.name != "blocking":
        await done


@asynccontextmanager
async def running(face: Face, *devices: Dev) -> AsyncGenerator[Crowd]:
    """Run devices beside the scenario, and stop them behind it."""
    async with face.crowd() as crowd:
        jobs = [crowd.start(one.run) for one in devices]
        try:
            yield crowd
        finally:
            for one in devices:
                one.stop()
        await until(face, lambda: all(job.done for job in jobs))


async def cancelled(face: Face, function: Callable[[], Awaitable[None]], when: Callable[[], object]) -> None:
    """In a face of tasks: run a function until `when()` is true, and cancel it then."""
    if face.name == "asyncio":
        task = asyncio.ensure_future(function())
        await until(face, when)
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE)
        assert task.cancelled()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function)
        await until(face, when)
        nursery.cancel_scope.cancel()


async def link(one: Sock, other: Sock, url: str) -> tuple[int, int]:
    """Connect two sockets, and return what they call each other: the first one its peer, the second its own."""
    before = {peer.id for peer in one.peers} | {peer.id for peer in other.peers}
    other.connect(one.bind(url).url)
    return await newest(one, before), await newest(other, before)


async def newest(sock: Sock, before: set[int]) -> int:
    """Wait for one more peer than those, and return its id."""
    number = sum(peer.id in before for peer in sock.peers)
    (peer,) = (peer.id for peer in await sock.wait_for_peers(number + 1, PATIENCE) if peer.id not in before)
    return peer


def urls(sock: Sock) -> list[str]:
    """Return where a socket listens."""
    return [end.url for end in base_of(sock)._ends.listeners]


class Log:
    """A tap that notes what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[Side, Message]] = []

    def __call__(self, side: Side, message: Message) -> None:
        self.seen.append((side, message))

    def bodies(self, side: Side) -> list[bytes]:
        """Return what came in at a side."""
        return [message.body for one, message in self.seen if one == side]


async def take(sock: RawSock, number: int) -> list[Message]:
    """Receive so many messages."""
    return [await sock.recv(timeout=PATIENCE) for _ in range(number)]


def over(job: Job[Any]) -> Callable[[], bool]:
    """Return the claim that a job is done."""
    return lambda: job.done
