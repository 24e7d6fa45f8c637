"""A TCP proxy that does to connections what networks do. One thread a direction; for tests on the loopback."""
import contextlib
import socket
import struct
import threading
import time


class Proxy:
    """Forwards to (host, port). Faults, each for all connections from when it is set: None, 'blackhole' (bytes are taken and go nowhere),
    'slow' (1 KB/s each way), 'delay' (each piece 200 ms late). reset() and half_answer() act once on the connections there are."""

    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.fault = None
        self.cut_after = None
        self.connections = []
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(self.target, 5)
            except OSError:
                self._abort(client)
                continue
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            self.connections.append(pair)
            threading.Thread(target=self._forward, args=(client, server, pair, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, pair, True), daemon=True).start()

    def _forward(self, source, sink, pair, answers):
        with contextlib.suppress(OSError):
            while True:
                piece = source.recv(512 if self.fault == "slow" else 65536)
                if not piece:
                    break
                if self.fault == "slow":
                    time.sleep(len(piece) / 1024)
                elif self.fault == "delay":
                    time.sleep(0.2)
                if self.fault == "blackhole":
                    continue
                if answers and self.cut_after is not None:
                    piece, self.cut_after = piece[:len(piece) // 2], None
                    sink.sendall(piece)
                    break
                sink.sendall(piece)
        self._close(pair)

    @staticmethod
    def _abort(s):
        with contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

    def _close(self, pair):
        with contextlib.suppress(ValueError):
            self.connections.remove(pair)
        for s in pair:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def reset(self):
        """Connections end with RST, with whatever was on the way."""
        for pair in list(self.connections):
            with contextlib.suppress(ValueError):
                self.connections.remove(pair)
            for s in pair:
                with contextlib.suppress(OSError):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.shutdown(socket.SHUT_RD)
                self._abort(s)

    def half_answer(self):
        """The next answer is cut in its middle, then the connection closed."""
        self.cut_after = 1

    def close(self):
        self.listener.close()
        self.reset()
