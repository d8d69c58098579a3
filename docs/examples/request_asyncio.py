"""A hundred requests at once in asyncio, to a service with ten of them in hand at a time."""

import asyncio

import nnqpy.asyncio as nnq


class Service:
    """Answers when ten requests are in hand; one question it never answers."""

    def __init__(self) -> None:
        self.ten = asyncio.Barrier(10)
        self.asked_too_much = asyncio.Event()
        self.enough = asyncio.Event()

    async def handle(self, request: bytes) -> bytes | None:
        if request == b"the meaning of life":
            self.asked_too_much.set()
            await self.enough.wait()
            return None
        await self.ten.wait()
        return request[::-1]


async def main() -> None:
    service = Service()
    async with nnq.Rep() as rep, nnq.Req() as req, asyncio.TaskGroup() as group:
        req.connect(rep.bind("tcp://127.0.0.1:0").url)
        serving = group.create_task(rep.serve(service.handle, concurrency=10))

        replies = await asyncio.gather(*(req.request(b"%02d" % number, timeout=30) for number in range(100)))
        print(f"{len(replies)} replies, from {replies[0].decode()} to {replies[-1].decode()}")

        # A request that is cancelled is given up: its task ends, the socket is as good as before.
        asking = group.create_task(req.request(b"the meaning of life"))
        await service.asked_too_much.wait()
        asking.cancel()
        await asyncio.wait([asking])
        service.enough.set()
        print("given up:", asking.cancelled())

        await rep.close()  # ends serve()
        await serving


asyncio.run(main())
