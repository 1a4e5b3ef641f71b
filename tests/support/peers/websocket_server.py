"""A WebSocket server that echoes; the message `close` closes with code 4001. Listens at HOST, the first argument,
or on loopback; prints its port."""

import asyncio
import sys

import websockets


async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "asked to")
            return
        await socket.send(message)


async def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    async with websockets.serve(echo, host, 0, subprotocols=["chat"], max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
