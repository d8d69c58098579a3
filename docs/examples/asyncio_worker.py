"""An asyncio worker with ten jobs in hand at a time; cancelling it loses none."""

import asyncio

import nnqpy.asyncio as nnq

JOBS = 200


async def worker(jobs_url: str, results: nnq.Push) -> None:
    async with nnq.Pull(connect=jobs_url) as jobs, asyncio.TaskGroup() as group:
        limit = asyncio.Semaphore(10)
        async for job in jobs:
            await limit.acquire()
            task = group.create_task(work(job, results))
            task.add_done_callback(lambda _: limit.release())


async def work(job: bytes, results: nnq.Push) -> None:
    await asyncio.sleep(0.001)  # something that waits: a request, a query
    await results.send(job.upper())


async def main() -> None:
    async with nnq.Push() as jobs, nnq.Push() as results, nnq.Pull() as sink:
        jobs_url = jobs.bind("tcp://127.0.0.1:0").url
        results.connect(sink.bind("tcp://127.0.0.1:0").url)
        task = asyncio.create_task(worker(jobs_url, results))

        sent = await jobs.send_many(b"job %d" % number for number in range(JOBS))
        done = {await sink.recv(timeout=30) for _ in range(JOBS)}
        print(f"{sent} sent, {len(done)} done, for example {min(done).decode()}")

        task.cancel()
        await asyncio.wait([task])


asyncio.run(main())
