"""What applications do with sockets, through a proxy to an echo server: argv is HOST PORT. Prints `ok` or dies."""
import array, fcntl, select, socket, sys, termios

address = (sys.argv[1], int(sys.argv[2]))


def connected():
    s = socket.create_connection(address, timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def unread(s):
    count = array.array("i", [0])
    fcntl.ioctl(s, termios.FIONREAD, count)
    return count[0]


def exactly(s, count):
    got = b""
    while len(got) < count:
        more = s.recv(count - len(got))
        assert more, "the end comes early"
        got += more
    return got


# An epoll edge-triggered reader.
s = connected()
s.setblocking(False)
poll = select.epoll()
poll.register(s, select.EPOLLIN | select.EPOLLET)
for round in range(2000):
    word = b"%d " % round * (round % 50 + 1)
    s.send(word)
    got = b""
    while len(got) < len(word):
        assert poll.poll(20), "no edge"
        while True:
            try:
                got += s.recv(4096)
            except BlockingIOError:
                break
    assert got == word
s.close()

# Who asks how much there is before reading it.
s = connected()
for round in range(200):
    word = b"x" * (round + 1)
    s.sendall(word)
    select.select([s], [], [], 20)
    got = b""
    while len(got) < len(word):
        waiting = unread(s)
        assert waiting > 0 or select.select([s], [], [], 20)[0], "FIONREAD says nothing waits"
        got += s.recv(max(waiting, 1))
    assert got == word and unread(s) == 0
s.close()

# Half-closers, peekers.
for round in range(50):
    s = connected()
    s.sendall(b"the last words")
    s.shutdown(socket.SHUT_WR)
    while len(s.recv(64, socket.MSG_PEEK)) < 14:
        pass
    assert exactly(s, 14) == b"the last words"
    assert s.recv(1) == b""
    s.close()

# Who gives up.
for round in range(50):
    s = connected()
    s.sendall(b"never mind")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
print("ok")
