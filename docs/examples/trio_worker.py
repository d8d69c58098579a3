"""The same names under trio: a worker in a nursery, ended by its cancel scope."""

import trio

import nnqpy.trio as nnq

JOBS = 200


async def worker(jobs_url: str, results_url: str) -> None:
    async with nnq.Pull(connect=jobs_url) as jobs, nnq.Push(connect=results_url) as results:
        async for job in jobs:
            await results.send(job[::-1])


async def main() -> None:
    async with nnq.Push() as jobs, nnq.Pull() as results, trio.open_nursery() as nursery:
        jobs_url = jobs.bind("tcp://127.0.0.1:0").url
        results_url = results.bind("tcp://127.0.0.1:0").url
        for _ in range(2):
            nursery.start_soon(worker, jobs_url, results_url)

        await jobs.wait_for_peers(2, timeout=30)
        await jobs.send_many(b"%03d" % number for number in range(JOBS))
        with trio.fail_after(30):
            done = {await results.recv() for _ in range(JOBS)}
        print(f"{len(done)} done, for example {min(done).decode()}")

        nursery.cancel_scope.cancel()


trio.run(main)
