"""Messages <-> who gets them: no socket, no loop, no clock."""
