"""Talks to websocket_server.py at ADDRESS through the proxy. Exits 0 when every answer is right."""

import asyncio
import sys

import websockets


async def main():
    async with websockets.connect(f"ws://{sys.argv[1]}/chat", subprotocols=["chat"], max_size=None) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ("hello", b"\x00\xff" * 50, "\u00fc" * 70000, b"x" * 3_000_000):
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 5)
        await socket.send("close")
        try:
            await socket.recv()
            raise AssertionError("still open")
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 4001 and closed.rcvd.reason == "asked to", closed


asyncio.run(main())
