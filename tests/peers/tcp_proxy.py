"""A TCP proxy that does to connections what networks do. One thread a direction; for tests on the loopback.

  reset        connections end with RST, with whatever was on the way
  half_answer  the next answer is cut in its middle, then its connection is closed
  blackhole    something between has forgotten the connections (a NAT, a firewall): nothing comes through on them any more, in neither direction, not even
               that one side has closed, and nothing will when it is over; neither do connections that were made meanwhile
  partition    the same until it is over; then TCP has kept what was sent and delivers it, also of a side that has closed meanwhile
  slow         1 KB/s each way
  delay        each piece 200 ms late
"""
import contextlib
import itertools
import os
import select
import socket
import struct
import threading
import time

FAULTS = int(os.environ.get("LEAT_FAULTS", "2"))  # of each kind; soak: 100
KINDS = ("reset", "half_answer", "blackhole", "partition", "slow", "delay")
LENGTHS = itertools.cycle((1, 0.3, 3, 0.6))  # some end before anybody's deadline, some are met by who connects again


def abort(s):
    """Closed with RST; the thread that reads from it wakes."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.shutdown(socket.SHUT_RD)
    s.close()


def left(s):
    """Whoever connected has closed, whatever it sent before."""
    with contextlib.suppress(ValueError):  # closed here, too
        poll = select.poll()
        poll.register(s, select.POLLRDHUP)
        return bool(poll.poll(0))
    return True


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server  # None: never came through
        self.silent = server is None
        self.deserted = False  # silent, and the client has closed
        self.since = time.monotonic()
        self.answers = 0

    def recovered(self, answers):
        return self.since + 0.3 < time.monotonic() and self.answers >= answers and not left(self.client)


class Proxy:
    """Forwards to (host, port). `fault`: what is done to all connections from when it is set; None: nothing."""

    def __init__(self, port, host="127.0.0.1", tells=True):
        self.target = (host, port)
        self.tells = tells  # a server learns, after a black hole, that those are gone who are
        self.changed = threading.Condition()
        self.now = None
        self.cut = False  # the next answer is to be
        self.felt = False  # the last fault has met something
        self.connections = []  # that things come through on
        self.silent = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def fault(self):
        return self.now

    @fault.setter
    def fault(self, fault):
        with self.changed:
            self.now = fault
            self.felt = False
            if fault == "blackhole":
                self.felt = bool(self.connections)
                for c in self.connections:
                    c.silent = True
                self.silent += self.connections
                self.connections = []
            else:
                self._sweep()
            self.changed.notify_all()

    # ---- connections ----

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        late = self._held()
        if late and left(client):  # it has given up before anything of it could arrive
            abort(client)
            return
        if self.now == "blackhole":
            c = Connection(client, None)
            self.silent.append(c)
            self.felt = True
            self._forward(c, client, None)
            return
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            abort(client)
            return
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c = Connection(client, server)
        with self.changed:
            c.silent = self.now == "blackhole"
            (self.silent if c.silent else self.connections).append(c)
        threading.Thread(target=self._forward, args=(c, server, client), daemon=True).start()
        self._forward(c, client, server)

    def _held(self):
        """Returns when there is no partition (any more); was there one?"""
        with self.changed:
            there = self.now == "partition"
            while self.now == "partition":
                self.felt = True
                self.changed.wait()
        return there

    def _wait(self, seconds):
        with self.changed:
            self.felt, fault = True, self.now
            self.changed.wait_for(lambda: self.now != fault, seconds)

    def _forward(self, c, source, sink):
        with contextlib.suppress(OSError):
            while True:
                piece = source.recv(512 if self.now == "slow" else 65536)
                if not piece:
                    break
                if self.now in ("slow", "delay"):
                    self._wait(len(piece) / 1024 if self.now == "slow" else 0.2)
                self._held()
                if c.silent:
                    continue
                if source is c.server and self._cuts():
                    sink.sendall(piece[:len(piece) // 2])
                    break
                sink.sendall(piece)
                c.answers += source is c.server
        self._held()  # that it has ended is not known before, either
        self._end(c, source)

    def _cuts(self):
        with self.changed:
            cuts, self.cut = self.cut, False
            self.felt = self.felt or cuts
        return cuts

    def _end(self, c, side):
        with self.changed:
            if c.silent:
                side.close()
                c.deserted = c.deserted or side is c.client
                if self.now != "blackhole":
                    self._sweep()
                return
            with contextlib.suppress(ValueError):
                self.connections.remove(c)
        for s in (c.client, c.server):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def _sweep(self):
        """For real, it may take the server hours to learn of those that have gone; it has not so many connections to give for each test."""
        for c in [c for c in self.silent if c.deserted and self.tells]:
            self.silent.remove(c)
            if c.server:
                abort(c.server)

    # ---- faults ----

    def reset(self):
        with self.changed:
            gone, self.connections = self.connections, []
            self.felt = bool(gone)
        for c in gone:
            abort(c.client)
            abort(c.server)

    def half_answer(self):
        with self.changed:
            self.felt, self.cut = False, True

    def begin(self, fault):
        if fault in ("reset", "half_answer"):
            getattr(self, fault)()
        else:
            self.fault = fault

    def close(self):
        self.fault = None
        self.listener.close()
        with self.changed:
            self.connections += self.silent
            self.connections, gone = [], self.connections
        for c in gone:
            for s in (c.client, c.server):
                if s:
                    abort(s)


def until(what, condition, stir=lambda: None):
    """Longer than any deadline, keepalive or pause of the tests' projects."""
    for n in range(9000):
        if condition():
            return
        if n % 100 == 99:
            stir()
        time.sleep(0.01)
    raise TimeoutError(what)


def disturb(proxies, fault, seconds, during=lambda: None, stir=lambda: None, answers=0):
    """Once, when whoever connects has recovered from the time before (a connection is some time old, and has so many `answers`), while `during` makes some
    traffic; it must be felt. Then the network is as before. stir: has those connect who do it only when there is something to say."""
    for proxy in proxies:
        until("nobody is connected", lambda proxy=proxy: any(c.recovered(answers) for c in list(proxy.connections)), stir)
        proxy.begin(fault)
    during()
    for proxy in proxies:
        until(f"nobody feels {fault}", lambda proxy=proxy: proxy.felt or (fault == "reset" and proxy.reset()), stir)  # it may just then have hung up by itself
    if fault not in ("reset", "half_answer"):
        time.sleep(seconds * next(LENGTHS))
    for proxy in proxies:
        proxy.fault = None
