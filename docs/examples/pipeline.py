"""A ventilator hands out jobs, two worker processes do them, and a sink adds up the results."""

import multiprocessing

from nnqpy import Pull, Push

JOBS = 1000


def worker(jobs_url: str, results_url: str) -> None:
    """Square numbers for ever."""
    with Pull(connect=jobs_url) as jobs, Push(connect=results_url) as results:
        for job in jobs:
            results.send(b"%d" % int(job) ** 2)


def main() -> None:
    with Push() as jobs, Pull() as results:
        jobs_url = jobs.bind("tcp://127.0.0.1:0").url  # port 0: any free one; .url has the real port
        results_url = results.bind("tcp://127.0.0.1:0").url
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=worker, args=(jobs_url, results_url)) for _ in range(2)]
        for process in workers:
            process.start()

        jobs.wait_for_peers(len(workers), timeout=30)
        for number in range(JOBS):
            jobs.send(b"%d" % number)
        total = sum(int(results.recv(timeout=30)) for _ in range(JOBS))
        print(f"{JOBS} jobs, the squares add up to {total}")

        for process in workers:  # every result is here: they have nothing left to lose
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
