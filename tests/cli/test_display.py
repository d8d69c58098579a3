"""What the demo shows while it runs."""

from __future__ import annotations

import io

from nnqpy.cli.display import Display, rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_gets_one_line_refreshed() -> None:
    """Every update begins at the line's start and wipes what was there; the only new line is the last character."""
    terminal, clock = Terminal(), Clock()
    display = Display(terminal, clock)

    display.begin("tcp", 1000)
    clock.now = 1.0
    display.received(500)
    display.end(1000)

    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown[1] == "tcp: starting the processes"
    assert "[############            ]  50%" in shown[2]
    assert shown[3] == "tcp: 1,000 jobs arrived\n"


def test_a_terminal_is_refreshed_at_most_ten_times_a_second() -> None:
    """However many updates come."""
    terminal, clock = Terminal(), Clock()
    display = Display(terminal, clock)
    display.begin("tcp", 1000)

    for step in range(1000):
        clock.now = step / 1000
        display.received(step)

    assert 8 <= terminal.getvalue().count("%") <= 10


def test_elsewhere_there_are_few_lines_and_no_control_characters() -> None:
    """A log file gets a line a second at most."""
    log, clock = io.StringIO(), Clock()
    display = Display(log, clock)
    display.begin("ipc", 1000)

    for step in range(2500):
        clock.now = step / 1000
        display.sent(step)
    display.clear()

    lines = log.getvalue().splitlines()
    assert [line.split(",")[0].split("  received")[0] for line in lines[1:]] == [
        "ipc: [                        ]   0%  sent 1",
        "ipc: [                        ]   0%  sent 2",
    ]
    assert log.getvalue().isprintable() or set(log.getvalue()) & set("\r\x1b") == set()


def test_a_line_is_cut_to_the_terminal() -> None:
    """A wrapped line could not be wiped."""
    terminal = Terminal()
    display = Display(terminal, Clock())

    display.note("x" * 1000)

    assert len(terminal.getvalue()) < 1000


def test_a_table_is_aligned() -> None:
    """Names to the left, numbers to the right."""
    assert rows([["", "sent"], ["tcp", "1"], ["inproc", "20"]]) == ["        sent", "tcp        1", "inproc    20"]
