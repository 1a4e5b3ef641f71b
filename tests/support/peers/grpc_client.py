"""Calls grpc_server.py at ADDRESS and checks one thing, named by the second argument. Exits 0 when it holds."""

import queue
import sys

import grpc


def unary(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    response, info = call.with_call(b"\x00hello\xff", timeout=10)
    assert response == b"\x00hello\xff", response
    assert info.code() == grpc.StatusCode.OK
    assert dict(info.initial_metadata())["x-initial"] == "yes"
    trailing = dict(info.trailing_metadata())
    assert trailing["x-trailing"] == "yes" and trailing["x-bytes-bin"] == b"\x00\xff", trailing


def large(channel):
    body = bytes(range(256)) * 12000
    assert channel.unary_unary("/test.Echo/Unary")(body, timeout=20) == body


def client(channel):
    call = channel.stream_unary("/test.Echo/Client")
    assert call(iter([b"a", b"b", b"c"]), timeout=10) == b"a,b,c"


def server(channel):
    call = channel.unary_stream("/test.Echo/Server")
    answers = call(b"x", timeout=20, metadata=(("count", "500"),))
    assert [answer for answer in answers] == [b"x"] * 500
    assert dict(answers.trailing_metadata())["x-trailing"] == "yes"


def bidi(channel):
    """Each message is sent only after the answer to the one before it: nothing may be held back."""
    messages = queue.Queue()
    answers = channel.stream_stream("/test.Echo/Bidi")(iter(messages.get, None), timeout=10)
    for number in range(20):
        messages.put(b"%d" % number)
        assert next(answers) == b"%d" % number
    messages.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def error(channel):
    for code in ("NOT_FOUND", "PERMISSION_DENIED", "UNAVAILABLE", "INTERNAL"):
        try:
            channel.unary_unary("/test.Echo/Unary")(b"x", timeout=10, metadata=(("fail", code),))
            raise AssertionError("no error")
        except grpc.RpcError as failure:
            assert failure.code() == getattr(grpc.StatusCode, code), failure
            assert failure.details() == "asked to fail: 100% \u00fc", failure.details()


def unknown(channel):
    try:
        channel.unary_unary("/test.Echo/Nothing")(b"x", timeout=10)
        raise AssertionError("no error")
    except grpc.RpcError as failure:
        assert failure.code() == grpc.StatusCode.UNIMPLEMENTED, failure


def deadline(channel):
    try:
        channel.unary_unary("/test.Echo/Unary")(b"x", timeout=0.3, metadata=(("sleep", "3000"),))
        raise AssertionError("no error")
    except grpc.RpcError as failure:
        assert failure.code() == grpc.StatusCode.DEADLINE_EXCEEDED, failure


def unavailable(channel):
    """Nobody listens behind the proxy: it must speak gRPC itself."""
    try:
        channel.unary_unary("/test.Echo/Unary")(b"x", timeout=10)
        raise AssertionError("no error")
    except grpc.RpcError as failure:
        assert failure.code() == grpc.StatusCode.UNAVAILABLE, failure


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1], options=(("grpc.max_receive_message_length", -1),)) as opened:
        globals()[sys.argv[2]](opened)
