"""A gRPC server with the health service of grpcio-health-checking and nothing else: HOST PORT [SERVICE…]

The server as a whole and each SERVICE are SERVING. SIGUSR1 makes all of them NOT_SERVING, SIGUSR2 SERVING again. Prints its
port."""

import signal
import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

if __name__ == "__main__":
    host, port, *services = sys.argv[1:]
    servicer = health.HealthServicer()

    def all_are(status):
        for service in ["", *services]:
            servicer.set(service, status)

    all_are(health_pb2.HealthCheckResponse.SERVING)
    serving = grpc.server(futures.ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, serving)
    bound = serving.add_insecure_port(f"{host}:{port}")
    serving.start()
    print(bound, flush=True)
    signals = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while True:
        told = signal.sigwait(signals)
        if told == signal.SIGTERM:
            break
        status = health_pb2.HealthCheckResponse
        all_are(status.NOT_SERVING if told == signal.SIGUSR1 else status.SERVING)
    serving.stop(0)
