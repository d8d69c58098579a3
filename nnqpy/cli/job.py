"""A job of the demo, from the ventilator by way of a worker to the sink, and the tally the sink keeps of them.

A job is ``number u64 | sent u64 | worker u8 | filling``; `sent` is a monotonic clock in ns, one for all processes of the
machine, or 0 for a job of the flood, whose age would only tell how long the queue was. Nothing here knows a socket.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field

HEAD = struct.Struct(">QQB")
NOBODY = 255  # no worker has had it yet
_WORKER_AT = HEAD.size - 1


def filling(size: int) -> bytes:
    """Return what follows the head in a job of `size` bytes: the sink knows it and looks whether it came whole."""
    return (b"nnqpy demo " * (size // 11 + 1))[: size - HEAD.size]


def stamped(job: bytes, worker: int) -> bytes:
    """Return the job with the worker's number in it."""
    return job[:_WORKER_AT] + worker.to_bytes() + job[HEAD.size :]


@dataclass
class Tally:
    """What arrived.

    Attributes:
        received: different jobs that came whole.
        doubled: jobs that came a second time.
        damaged: messages that were no job as the ventilator made it.
        flooded_at: when the last job of the flood was taken (monotonic ns).
        shares: jobs by worker.
        ages: seconds from ventilator to sink, of the paced jobs.
    """

    filling: bytes
    received: int = 0
    doubled: int = 0
    damaged: int = 0
    flooded_at: int = 0
    shares: dict[int, int] = field(default_factory=dict[int, int])
    ages: list[float] = field(default_factory=list[float])
    _seen: bytearray = field(default_factory=bytearray)

    def count(self, jobs: list[bytes], now: int) -> None:
        """Take in the jobs that arrived together at `now` (monotonic ns)."""
        seen, shares, whole = self._seen, self.shares, self.filling
        for job in jobs:
            if len(job) != HEAD.size + len(whole) or not job.endswith(whole):
                self.damaged += 1
                continue
            number, sent, worker = HEAD.unpack_from(job)
            if number >= len(seen):
                seen.extend(bytes(number + 65536 - len(seen)))
            if seen[number]:
                self.doubled += 1
                continue
            seen[number] = 1
            self.received += 1
            shares[worker] = shares.get(worker, 0) + 1
            if sent:
                self.ages.append((now - sent) / 1e9)
            else:
                self.flooded_at = now

    def report(self) -> Report:
        """Return the tally as what the sink tells."""
        ages = sorted(self.ages)
        return Report(
            received=self.received,
            doubled=self.doubled,
            damaged=self.damaged,
            flooded_at=self.flooded_at,
            shares=[[worker, count] for worker, count in sorted(self.shares.items())],
            p50=_quantile(ages, 0.50),
            p99=_quantile(ages, 0.99),
        )


@dataclass(frozen=True)
class Report:
    """A tally in numbers; ages in seconds, None where no paced job came."""

    received: int
    doubled: int
    damaged: int
    flooded_at: int
    shares: list[list[int]]
    p50: float | None
    p99: float | None

    def share_of(self, worker: int) -> int:
        """Return how many jobs came by way of `worker`."""
        return sum(count for number, count in self.shares if number == worker)

    def dumps(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str) -> Report:
        """Read what `dumps` wrote."""
        return cls(**json.loads(line))


def _quantile(ordered: list[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of them do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]
