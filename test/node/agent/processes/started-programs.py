"""Tells which programs a process starts, by the kernel's own word (proc connector): not one is missed, however short it runs.

Prints `ready`; then for each line `PID` of stdin a line of what that process and its descendants have started since the
process itself was last another program: names, separated by spaces, of as many as were started.
"""
import os
import select
import socket
import struct
import subprocess
import sys

CONNECTOR, PROC_GROUP, LISTEN = 11, 1, 1
FORK, EXEC = 1, 2
HEADERS = 16 + 20

events = []


def listen():
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
    kernel.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    kernel.bind((0, PROC_GROUP))
    body = struct.pack('=IIIIHHI', 1, 1, 0, 0, 4, 0, LISTEN)
    kernel.send(struct.pack('=IHHII', 16 + len(body), 3, 0, 0, 0) + body)
    kernel.setblocking(False)
    return kernel


def take(kernel):
    """Fails where the kernel had more to tell than there was room for."""
    while True:
        try:
            data = kernel.recv(4096)
        except BlockingIOError:
            return
        what = struct.unpack_from('=I', data, HEADERS)[0]
        if what == FORK:
            _, parent, _, child = struct.unpack_from('=IIII', data, HEADERS + 16)
            if parent != child:
                events.append((FORK, parent, child))
        elif what == EXEC:
            _, process = struct.unpack_from('=II', data, HEADERS + 16)
            events.append((EXEC, process, name(process)))


def name(pid):
    try:
        with open(f'/proc/{pid}/comm') as file:
            return file.read().strip().replace(' ', '_')
    except OSError:
        return 'ended'


def started(root):
    family, names = {root}, []
    for what, process, other in events:
        if process not in family:
            continue
        if what == FORK:
            family.add(other)
        elif process == root:
            names.clear()
        else:
            names.append(other)
    return names


kernel = listen()
subprocess.run(['true'], check=True)
take(kernel)
assert any(what == EXEC for what, *_ in events), 'the kernel tells of no program that is started'
print('ready', flush=True)
buffered = b''
while True:
    readable, _, _ = select.select([kernel, 0], [], [])
    take(kernel)
    if 0 in readable:
        chunk = os.read(0, 4096)
        if not chunk:
            sys.exit()
        *lines, buffered = (buffered + chunk).split(b'\n')
        for line in lines:
            print(' '.join(started(int(line))), flush=True)
