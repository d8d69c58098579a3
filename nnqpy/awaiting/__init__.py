"""How a task waits for messages: what the asyncio and the trio face share."""
