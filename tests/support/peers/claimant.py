"""A proxy that claims what comes into its network namespace: argv is UID CGROUP PORT PROBE_PORT. Says to each that comes where it wanted to go."""
import os, socket, struct, sys, time

uid, group, port, probe = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open(f"{group}/cgroup.procs", "w") as procs:
    procs.write("0")
os.setresuid(uid, uid, uid)

listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("::", port))
# redirect_common::claim::Claim: its version, both families, the probe port, no excluded ports.
claim = struct.pack("=IIHH64H", 1, 3, probe, 0, *[0] * 64)
while True:
    try:
        listener.setsockopt(0x50494C4C, 1, claim)
        break
    except OSError as error:
        print(f"waits: {error.errno}", flush=True)
        time.sleep(0.2)
listener.listen(64)
print("listens", flush=True)
while True:
    client, _ = listener.accept()
    host, at = client.getsockname()[:2]
    client.sendall(f"{host} {at}".encode())
    client.close()
