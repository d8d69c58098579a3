"""`nnq bench`: nnqpy beside its peers, on this machine, in separate processes, one script for all.

    nnq bench --quick
    nnq bench --only throughput,rtt --libs nnqpy,pyzmq,raw --json bench.json --plot bench.svg

Libraries that are not installed are named in the report and left out. The parent process measures nothing and
imports no peer; workers are fresh interpreters (`worker`), one library each.
"""

from nnqpy.bench.command import main

__all__ = ["main"]
