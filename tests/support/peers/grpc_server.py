"""A gRPC server without schemas: bytes in, bytes out. Listens at HOST, the first
argument, or on loopback; prints its port.

/test.Echo/Unary    returns what it got; metadata `fail: CODE` fails with that code, `sleep: MS` waits first
/test.Echo/Client   returns the messages joined with commas
/test.Echo/Server   returns the message N times (metadata `count: N`)
/test.Echo/Bidi     returns each message as it comes
Each call returns initial metadata `x-initial: yes` and trailing metadata `x-trailing: yes`.
"""

import sys
import time
from concurrent import futures

import grpc


def prepare(context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", "yes"),))
    context.set_trailing_metadata((("x-trailing", "yes"), ("x-bytes-bin", b"\x00\xff")))
    if "sleep" in metadata:
        time.sleep(int(metadata["sleep"]) / 1000)
    if "fail" in metadata:
        context.abort(getattr(grpc.StatusCode, metadata["fail"]), "asked to fail: 100% \u00fc")
    return metadata


def unary(request, context):
    prepare(context)
    return request


def client(requests, context):
    prepare(context)
    return b",".join(requests)


def server(request, context):
    metadata = prepare(context)
    for _ in range(int(metadata.get("count", "3"))):
        yield request


def bidi(requests, context):
    prepare(context)
    for request in requests:
        yield request


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Echo/Client": grpc.stream_unary_rpc_method_handler(client),
            "/test.Echo/Server": grpc.unary_stream_rpc_method_handler(server),
            "/test.Echo/Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        }.get(details.method)


if __name__ == "__main__":
    serving = grpc.server(futures.ThreadPoolExecutor(8), handlers=(Handler(),))
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    print(serving.add_insecure_port(f"{host}:0"), flush=True)
    serving.start()
    serving.wait_for_termination()
