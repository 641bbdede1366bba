"""`bench/load.c` in Python, for machines without a compiler: same commands, same output."""

import itertools
import os
import socket
import sys
import threading
import time

from service.packets import Received, Scanner, acknowledgements

_BLOCK_BYTES = 262144
_DEVICES = 100


def dial(port: int, name: str) -> socket.socket:
    """Return a connection on which CONNECT was accepted."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client_id = f"{name}{os.getpid()}".encode()
    body = b"\0\4MQTT\4\2\0\0" + len(client_id).to_bytes(2) + client_id
    sock.sendall(bytes((0x10, len(body))) + body)
    if sock.recv(4, socket.MSG_WAITALL)[3:] != b"\0":
        raise ConnectionRefusedError("the broker refuses")
    return sock


def blast(port: int, qos: int, count: int, links: int, window: int, base: int | None) -> None:
    """Publish `count` readings over so many connections."""
    socks = [dial(port, f"blast{index}-") for index in range(links)]
    input()
    started_s = time.time()
    quotas = [count // links + (index < count % links) for index in range(links)]
    threads = [
        threading.Thread(target=_blast_one, args=(sock, qos, quota, window, base, index, links))
        for index, (sock, quota) in enumerate(zip(socks, quotas, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{count} {started_s:.6f} {time.time():.6f}")
    for sock in socks:
        sock.sendall(b"\xe0\0")
        sock.close()


def _blast_one(sock: socket.socket, qos: int, quota: int, window: int, base: int | None, first: int, step: int) -> None:
    numbers = itertools.count(first, step)
    sent = acked_bytes = 0
    while sent < quota or (qos and acked_bytes < 4 * quota):
        part = min(200, quota - sent, window - (sent - acked_bytes // 4) if qos else quota)
        if part > 0:
            sock.sendall(b"".join(_reading(qos, (sent + i) % 65535 + 1, next(numbers), base) for i in range(part)))
            sent += part
        elif qos:
            got = len(sock.recv(65536))
            if not got:
                raise ConnectionError("the broker closed the connection")
            acked_bytes += got


def _reading(qos: int, mid: int, n: int, base: int | None) -> bytes:
    more = "" if base is None else f',"_n":{base + n // _DEVICES},"_b":"b1"'
    topic = f"pinloop/bench{n % _DEVICES:02}/readings".encode()
    body = len(topic).to_bytes(2) + topic + (mid.to_bytes(2) if qos else b"")
    body += f'{{"temperature":21.5,"humidity":40{more}}}'.encode()
    return bytes((0x30 | qos << 1, len(body))) + body


def sink(port: int, qos: int, count: int, wanted: str) -> None:
    """Receive `count` messages, acknowledge them, keep nothing."""
    sock = dial(port, "sink")
    body = b"\0\1" + len(wanted).to_bytes(2) + wanted.encode() + bytes((qos,))
    sock.sendall(bytes((0x82, len(body))) + body)
    sock.recv(5, socket.MSG_WAITALL)
    print("subscribed", flush=True)
    scanner, held, received = Scanner(), b"", 0
    while received < count:
        sock.settimeout(5 if received else 60)
        try:
            held += sock.recv(_BLOCK_BYTES)
        except TimeoutError:  # the rest was lost
            break
        found: list[Received] = []
        held = held[scanner.scan(held, 0, 0, 0, found) :]
        received += len(found)
        sock.sendall(acknowledgements(found, 0))
    print(f"{received} {time.time():.6f}")


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "blast":
        print("connected", flush=True)
        blast(*map(int, words[:5]), None if words[5] == "plain" else int(words[5]))
    else:
        sink(*map(int, words[:3]), words[3])
