"""Servers and clients of the kernel layer's tests. Each prints one line a connection, or the name of its error.

serve NAME tcp|udp PORT [BACKLOG]  tells its name and the client's address, then what it gets; prints `ready`
transparent PORT [BACKLOG]         stand-in for Envoy: tells the address that its client meant
connect [-m MARK | -p FROM] ADDRESS PORT    the first line of the server
each ADDRESS PORT                  as connect, until two lines differ or 40 connections are made: a line each
knock ADDRESS PORT RATE SECONDS    as many connections a second, which end when they are answered; prints `ready`
stay ADDRESS PORT                  sends ten bytes a second, and wants no answer; prints `ready`
hold ADDRESS PORT                  as connect; then sends each line of stdin and prints the answer
ask ADDRESS PORT FROM              one datagram from the port FROM, and the answer
stream ADDRESS PORT FROM           one every 20 ms; each answer with the milliseconds since the last; prints `ready`
"""
import errno
import select
import socket
import struct
import sys
import threading
import time

IP_TRANSPARENT, IPV6_TRANSPARENT, SO_ORIGINAL_DST, SO_MARK = 19, 75, 80, 36
SECONDS = 5


def say(text):
    print(text, flush=True)


def plain(address):
    return address.removeprefix('::ffff:')


def family(address):
    return socket.AF_INET6 if ':' in address else socket.AF_INET


def answer(connection, greeting):
    with connection:
        try:
            connection.sendall(greeting.encode() + b'\n')
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass


def accept_all(listener, greet):
    while True:
        connection, client = listener.accept()
        threading.Thread(target=answer, args=(connection, greet(connection, client)), daemon=True).start()


def serve(name, protocol, port, backlog=128):
    kind = socket.SOCK_STREAM if protocol == 'tcp' else socket.SOCK_DGRAM
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(('::', int(port)))
    if protocol == 'tcp':
        server.listen(int(backlog))
        say('ready')
        accept_all(server, lambda _, client: f'{name} {plain(client[0])}')
    say('ready')
    while True:
        _, client = server.recvfrom(4096)
        server.sendto(f'{name} {plain(client[0])}'.encode(), client)


def transparent(port, backlog=128):
    def listen(kind, level, option):
        listener = socket.socket(kind, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(level, option, 1)
        if kind == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(('', int(port)))
        listener.listen(int(backlog))
        return listener

    def greet(connection, client):
        address, number = connection.getsockname()[:2]
        if number == int(port):
            level = socket.IPPROTO_IPV6 if ':' in address else socket.SOL_IP
            target = connection.getsockopt(level, SO_ORIGINAL_DST, 28)
            number = int.from_bytes(target[2:4])
            address = socket.inet_ntop(connection.family, target[8:24] if ':' in address else target[4:8])
        return f'envoy {address} {number} {client[0]}'

    six = listen(socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
    four = listen(socket.AF_INET, socket.SOL_IP, IP_TRANSPARENT)
    threading.Thread(target=accept_all, args=(six, greet), daemon=True).start()
    say('ready')
    accept_all(four, greet)


def dial(address, port, mark=0, source=0):
    client = socket.socket(family(address), socket.SOCK_STREAM)
    client.settimeout(SECONDS)
    if mark:
        client.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    if source:
        # Ends by a reset, which leaves the port free.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.bind(('', source))
    client.connect((address, int(port)))
    return client


def connect(*args):
    options = {'-m': 'mark', '-p': 'source'}
    with dial(*args[-2:], **{options[args[0]]: int(args[1], 0)} if args[0] in options else {}) as client:
        say(client.recv(4096).decode().strip())


def each(address, port):
    seen = set()
    for _ in range(40):
        with dial(address, port) as client:
            seen.add(client.recv(4096).decode().strip())
        if len(seen) == 2:
            break
    say('\n'.join(sorted(seen)))


def knock(address, port, rate, seconds):
    say('ready')
    waiting = []
    for _ in range(int(rate) * int(seconds)):
        client = socket.socket(family(address), socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect_ex((address, int(port)))
        waiting.append(client)
        time.sleep(1 / int(rate))
        for one in select.select([], waiting, [], 0)[1]:
            waiting.remove(one)
            one.close()


def stay(address, port):
    with dial(address, port) as client:
        say('ready')
        while client.send(b'.'):
            time.sleep(0.1)


def hold(address, port):
    with dial(address, port) as client:
        say(client.recv(4096).decode().strip())
        for line in sys.stdin:
            client.sendall(line.encode())
            say(client.recv(4096).decode().strip() or 'closed')


def ask(address, port, source):
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.bind(('', int(source)))
        client.connect((address, int(port)))
        client.send(b'hello')
        say(client.recv(4096).decode())


def stream(address, port, source):
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(0.02)
        client.bind(('', int(source)))
        client.connect((address, int(port)))
        say('ready')
        last = time.monotonic()
        for _ in range(60 * 50):
            try:
                client.send(b'hello')
                answer = client.recv(4096).decode()
            except OSError:
                continue
            now = time.monotonic()
            say(f'{answer} {(now - last) * 1000:.0f}')
            last = now
            time.sleep(0.02)


try:
    globals()[sys.argv[1]](*sys.argv[2:])
except TimeoutError:
    say('timeout')
except OSError as error:
    say(errno.errorcode.get(error.errno, str(error)))
