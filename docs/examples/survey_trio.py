"""A survey under trio: contexts let two of them be open at the same time on one socket."""

import trio

import nnqpy.trio as nnq


async def respond(url: str, name: bytes) -> None:
    async with nnq.Respondent(connect=url) as respondent:
        while True:
            question = await respondent.recv()
            await respondent.send(name + b" on " + question)


async def main() -> None:
    async with nnq.Surveyor() as surveyor, trio.open_nursery() as respondents:
        url = surveyor.bind("tcp://127.0.0.1:0").url
        for name in (b"Ann", b"Bob"):
            respondents.start_soon(respond, url, name)
        await surveyor.wait_for_peers(2, timeout=30)

        async with surveyor.context() as first, surveyor.context() as second:
            await first.send(b"tea", deadline=30)
            await second.send(b"coffee", deadline=30)
            for context in (second, first):
                print(sorted([(await context.recv()).decode() for _ in range(2)]))

        respondents.cancel_scope.cancel()


trio.run(main)
