"""A WebSocket server that says back what it hears, for `cargo xtask conformance`. Its argument is its port."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # Without compression: it is the gateway that is tried, and it must not look inside.
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=None):
        await asyncio.get_running_loop().create_future()


# Most cases break the rules, and each would be a page of a stack.
logging.disable()
asyncio.run(main())
