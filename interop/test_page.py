"""The documentation's page is what the tables say."""

from __future__ import annotations

from interop.page import PAGE, page


def test_the_page_is_made_of_the_tables() -> None:
    """A row that is added or lost shows there: run ``python -m interop.page``."""
    assert PAGE.read_text() == page()
