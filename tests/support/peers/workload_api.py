"""A SPIFFE Workload API on the Unix socket SOCKET, by gRPC's own library; it tells what lies in DIRECTORY.

DIRECTORY/svid and DIRECTORY/bundles are whole messages (X509SVIDResponse, X509BundlesResponse). Each call is answered with the
message there is, and with each one that replaces it. While there is none, a call fails with PERMISSION_DENIED, as an agent
answers a workload that nobody has registered. DIRECTORY/hang-up ends every stream, once. Prints `0` when it listens, and a line
for each call that begins.
"""

import os
import sys
import time
from concurrent import futures

import grpc

SOCKET, DIRECTORY = sys.argv[1:3]


def say(line):
    """Prints a line whole: calls begin on several threads, and `print` lets them mix."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def content(name):
    try:
        with open(os.path.join(DIRECTORY, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def stream(name):
    def call(request, context):
        metadata = [(key, value) for key, value in context.invocation_metadata() if key == "workload.spiffe.io"]
        if metadata != [("workload.spiffe.io", "true")]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"security header missing from request: {metadata}")
        if request != b"":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request is not empty: {request}")
        say(f"call {name}")
        told = None
        while context.is_active():
            message = content(name)
            if message is None and told is None:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
            if message is not None and message != told:
                told = message
                yield message
            if os.path.exists(os.path.join(DIRECTORY, "hang-up")):
                context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            time.sleep(0.01)

    return grpc.unary_stream_rpc_method_handler(call)


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/SpiffeWorkloadAPI/FetchX509SVID": stream("svid"),
            "/SpiffeWorkloadAPI/FetchX509Bundles": stream("bundles"),
        }.get(details.method)


if __name__ == "__main__":
    serving = grpc.server(futures.ThreadPoolExecutor(32), handlers=(Handler(),))
    serving.add_insecure_port(f"unix:{SOCKET}")
    serving.start()
    say("0")
    serving.wait_for_termination()
