"""A TLS peer that ends as Python's `SSLSocket.close()` does: FIN, and no close_notify.

no_goodbye.py serve PEM BYTES [HEAD]   prints its port; answers the first bytes of each client with HEAD and BYTES times "s"
no_goodbye.py send ADDRESS BYTES       sends BYTES times "c"
"""

import socket
import ssl
import sys
import threading


def serve(pem, count, head=""):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def answer(client):
        client = context.wrap_socket(client, server_side=True)
        client.recv(65536)
        client.sendall(head.replace("|", "\r\n").encode() + b"s" * int(count))
        client.close()

    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def send(address, count):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Tickets of 1.3 that nobody has read would make the end a reset.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = address.rsplit(":", 1)
    client = context.wrap_socket(socket.create_connection((host, int(port))))
    client.sendall(b"c" * int(count))
    client.close()


{"serve": serve, "send": send}[sys.argv[1]](*sys.argv[2:])
