"""One Push, three Pulls: every job goes to one of them, and each has its share."""

import contextlib

from nnqpy import Pull, Push, TimedOut

JOBS = 90

with Push() as jobs:
    url = jobs.bind("ipc://@nnqpy-example-shares").url
    workers = [Pull(connect=url) for _ in range(3)]
    jobs.wait_for_peers(3, timeout=30)

    jobs.send_many(b"job %d" % number for number in range(JOBS))
    jobs.flush(timeout=30)
    for peer in jobs.peers:
        print(f"a {peer.protocol} was given {peer.sent} jobs")

# The Push is closed; what it has handed over is still there to be taken.
taken: list[bytes] = []
while len(taken) < JOBS:
    for worker in workers:
        with contextlib.suppress(TimedOut):
            taken += worker.recv_many(timeout=0.1)
for worker in workers:
    worker.close()
print(f"{len(taken)} jobs were taken, {len(set(taken))} different ones")
