"""Real servers for the tests, on free loopback ports, stopped at the end; and leat itself as a process.

Each server is a context manager: with Postgres(folder) as server: ... A server whose program is not installed raises Missing, which the
fixtures of the tests turn into a visible skip.
"""
import contextlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

LEAT = os.environ.get("LEAT", "build/dev/leat")


class Missing(Exception):
    """The server's program is not installed (scripts/bootstrap --peers)."""


def kills(otherwise):
    """For each kill of leat (LEAT_KILLS; soak: 30), whether its server is killed, too: every sixth time from the second on, so five times of thirty."""
    return [i % 6 == 1 for i in range(int(os.environ.get("LEAT_KILLS", otherwise)))]


def free_port():
    """Below the range from which the system gives ports to those who connect: one of that range can be taken by a connection while its server is down
    or not yet up (even by one to itself, from a client that tries again and again), and the server does not start."""
    try:
        below = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        below = 32768
    while True:
        port = random.SystemRandom().randrange(max(1024, below - 16384), below)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def wait_for(what, condition, seconds=60, process=None):
    """Polls until condition() is true; its value. A server that has ended meanwhile is an error at once."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if process and process.poll() is not None:
            raise RuntimeError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def accepts(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def certificates(folder):
    """ca.pem, an authority; server.pem and server.key, for localhost, signed by it."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    if (folder / "server.pem").exists():
        return
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "3650")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "3650")


def lives(process):
    """Of its folder in /proc."""
    with contextlib.suppress(OSError):
        return ") Z" not in (process / "stat").read_text()
    return False


class Server:
    """A process that listens on self.port. stop() and start() again on the same port and data; kill() as a crash does."""

    process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def launch(self, command, **kwargs):
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)

    def stop(self, number=signal.SIGTERM, seconds=30):
        if not self.process:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        self.log.close()

    def kill(self):
        self.stop(signal.SIGKILL)


class Postgres(Server):
    """PostgreSQL with a superuser `leat` without a password and a database `leat`; conninfo: for libpq. Replication is possible."""

    def __init__(self, folder, settings=()):
        self.folder = pathlib.Path(folder)
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise Missing("PostgreSQL")
        self.bin = found[-1].parent
        self.port = free_port()
        self.conninfo = f"host=127.0.0.1 port={self.port} user=leat dbname=leat"
        self.settings = settings
        # PostgreSQL does not run as root: as its own user then.
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.data = None

    def start(self):
        if not self.data:
            # Not in pytest's folder: each pytest that begins takes it away from other users, and PostgreSQL could not start again.
            self.data = tempfile.mkdtemp(prefix="leat-postgres-")
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.user:
                shutil.chown(self.data, "postgres", "postgres")
            subprocess.run([self.bin / "initdb", "-U", "leat", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", self.data], check=True,
                           stdout=subprocess.DEVNULL, cwd="/", **self.user)
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "wal_level": "logical", "fsync": "off",
                   "max_connections": 50, **dict(self.settings)}
        arguments = [a for name, value in options.items() for a in ("-c", f"{name}={value}")]
        self.launch([self.bin / "postgres", "-D", self.data, *arguments], cwd="/", **self.user)
        wait_for("PostgreSQL starts", lambda: self.try_sql("SELECT 1", "postgres") is not None, process=self.process)
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'leat'", "postgres"):
            self.sql("CREATE DATABASE leat", "postgres")

    def stop(self, number=signal.SIGINT, seconds=30):
        super().stop(number, seconds)

    def kill(self):
        """Its children are of other process groups; as long as one lives, PostgreSQL does not start again."""
        pid = self.process.pid
        children = [pathlib.Path("/proc", child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        super().kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child.name), signal.SIGKILL)
        wait_for("PostgreSQL's processes end", lambda: not any(lives(child) for child in children))

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.data or "", ignore_errors=True)

    def try_sql(self, sql, database="leat"):
        done = subprocess.run([self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U",
                               "leat", "-d", database, "-c", sql], capture_output=True, text=True)
        self.problem = done.stderr
        return done.stdout.strip() if done.returncode == 0 else None

    def sql(self, sql, database="leat"):
        """Runs it; the rows as text, columns apart by |."""
        text = self.try_sql(sql, database)
        if text is None:
            raise RuntimeError(self.problem)
        return text


class MariaDB(Server):
    """MariaDB with a superuser `leat` (password `geheim`) and a database `leat`; connection: for ODBC."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.program, self.client, self.install = (shutil.which(n) for n in ("mariadbd", "mariadb", "mariadb-install-db"))
        if not self.program or not self.client or not self.install:
            raise Missing("MariaDB")
        if "MariaDB Unicode" not in (pathlib.Path("/etc/odbcinst.ini").read_text() if os.path.exists("/etc/odbcinst.ini") else ""):
            raise Missing("odbc-mariadb")
        self.port = free_port()
        self.data = self.folder / "data"

    def connection(self, port=None):
        return (f"DRIVER={{MariaDB Unicode}};SERVER=127.0.0.1;PORT={port or self.port};DATABASE=leat;UID=leat;PWD=geheim;"
                "OPTION=1048576;CHARSET=utf8mb4")

    def start(self):
        user = ["--user=root"] if os.getuid() == 0 else []
        fresh = not self.data.exists()
        if fresh:
            self.folder.mkdir(parents=True, exist_ok=True)
            subprocess.run([self.install, "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal", "--skip-test-db", *user],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.launch([self.program, "--no-defaults", f"--datadir={self.data}", f"--port={self.port}", "--bind-address=127.0.0.1",
                     f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid", "--innodb-flush-log-at-trx-commit=2",
                     "--innodb-buffer-pool-size=64M", *user])
        wait_for("MariaDB starts", lambda: self.run("SELECT 1", "mysql").returncode == 0, process=self.process)
        if fresh:
            self.sql("CREATE DATABASE leat; CREATE USER leat@'%' IDENTIFIED BY 'geheim'; GRANT ALL ON *.* TO leat@'%'", "mysql")

    def run(self, sql, database):
        return subprocess.run([self.client, "--no-defaults", "-u", "root", f"--socket={self.folder}/socket", "-N", "-B", "-r", "-D", database, "-e", sql],
                              capture_output=True, text=True)

    def sql(self, sql, database="leat"):
        """Runs it; the rows as text, columns apart by |."""
        done = self.run(sql, database)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip().replace("\t", "|")


class Mosquitto(Server):
    """An MQTT broker; messages for clients that are away are kept without limit, also over a restart. With `tls`, a certificate authority of its own
    (folder/ca.pem) and a password: user `leat`, `geheim`."""

    def __init__(self, folder, tls=False, settings=()):
        self.folder = pathlib.Path(folder)
        self.settings = settings
        self.program, self.publisher = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin"), shutil.which("mosquitto_pub")
        if not self.program or not self.publisher:
            raise Missing("Mosquitto")
        self.port = free_port()
        self.tls = tls

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {self.folder}/", "max_queued_messages 0",
                 "max_inflight_messages 200", "user root", *self.settings]
        if self.tls:
            certificates(self.folder)
            subprocess.run(["mosquitto_passwd", "-b", "-c", f"{self.folder}/passwords", "leat", "geheim"], check=True, capture_output=True)
            lines += [f"cafile {self.folder}/ca.pem", f"certfile {self.folder}/server.pem", f"keyfile {self.folder}/server.key", "allow_anonymous false",
                      f"password_file {self.folder}/passwords"]
        else:
            lines.append("allow_anonymous true")
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.launch([self.program, "-c", f"{self.folder}/mosquitto.conf"])
        wait_for("Mosquitto starts", lambda: accepts(self.port), process=self.process)

    def publish(self, topic, payloads, qos=1):
        """One message a payload."""
        secret = ["--cafile", f"{self.folder}/ca.pem", "-u", "leat", "-P", "geheim"] if self.tls else []
        subprocess.run([self.publisher, "-h", "localhost", "-p", str(self.port), "-t", topic, "-q", str(qos), "-l", *secret], check=True, text=True,
                       input="".join(f"{payload}\n" for payload in payloads))


class Redis(Server):
    """Redis (or Valkey) without a password; every write is on disk before it is answered, so that kill() loses nothing answered."""

    def __init__(self, folder, tls=False):
        self.folder = pathlib.Path(folder)
        self.tls_port = free_port() if tls else None
        self.program = shutil.which("valkey-server") or shutil.which("redis-server")
        self.client = shutil.which("valkey-cli") or shutil.which("redis-cli")
        if not self.program or not self.client:
            raise Missing("Redis")
        self.port = free_port()

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.launch([self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--appendonly", "yes", "--appendfsync",
                     "always", "--save", "", *self._tls()])
        wait_for("Redis starts", lambda: self.call("PING", check=False) == "PONG", process=self.process)

    def _tls(self):
        if not self.tls_port:
            return []
        certificates(self.folder)
        return ["--tls-port", str(self.tls_port), "--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]

    def call(self, *command, check=True):
        done = subprocess.run([self.client, "-h", "127.0.0.1", "-p", str(self.port), *map(str, command)], capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.rstrip("\n")


class HttpReceiver:
    """A real HTTP server that keeps every request. answer(request, n) says what to do with the n-th: a status, (status, headers, body), or
    "drop" (no answer, the connection is closed), "half" (half an answer), a float (seconds to wait before 200)."""

    def __init__(self, answer=lambda request, n: 200):
        self.answer = answer
        self.requests = []
        self.lock = threading.Lock()
        self.port = free_port()
        self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = {"path": self.path, "headers": dict(self.headers), "body": body, "status": None, "at": time.monotonic()}
                with receiver.lock:
                    n = len(receiver.requests)
                    receiver.requests.append(request)
                what = receiver.answer(request, n)
                if isinstance(what, float):
                    time.sleep(what)
                    what = 200
                if what == "drop":
                    request["status"] = "drop"
                    self.close_connection = True
                    return
                if what == "half":
                    request["status"] = "half"
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                    self.close_connection = True
                    return
                status, headers, text = what if isinstance(what, tuple) else (what, {}, b"ok" if what < 300 else b"no")
                request["status"] = status
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    request["status"] = "gone"

            def log_message(self, *_):
                pass

        class Threaded(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.server = Threaded(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def taken(self):
        """Bodies that were answered with 2xx."""
        with self.lock:
            return [json.loads(r["body"]) for r in self.requests if isinstance(r["status"], int) and 200 <= r["status"] < 300]


class Project:
    """A project folder and leat over it."""

    def __init__(self, folder, sql, env=None):
        self.folder = pathlib.Path(folder)
        self.env = {**os.environ, **(env or {})}
        (self.folder / "in").mkdir(parents=True, exist_ok=True)
        self.write(sql)
        self.process = None

    def write(self, sql):
        (self.folder / "project.sql").write_text(sql)

    def feed(self, rows, file="in/events.ndjson"):
        with open(self.folder / file, "a") as out:
            out.write("".join(json.dumps(row) + "\n" for row in rows))

    def leat(self, *arguments, check=True, timeout=120):
        done = subprocess.run([LEAT, *arguments, "--project", str(self.folder)], capture_output=True, text=True, env=self.env, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"leat {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def once(self, *arguments, **kwargs):
        return self.leat("run", "--once", *arguments, **kwargs)

    def start(self):
        self.log = open(self.folder / "leat.log", "ab")
        self.process = subprocess.Popen([LEAT, "run", "--project", str(self.folder)], stdout=self.log, stderr=self.log, env=self.env)

    def stop(self, number=signal.SIGTERM, seconds=60):
        if not self.process:
            return None
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.process = None
        self.log.close()
        return code

    def kill(self):
        self.stop(signal.SIGKILL)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def status(self):
        return json.loads(self.leat("status", "--json").stdout)

    def sink(self, name):
        return next(s for s in self.status()["sinks"] if s["name"] == name)

    def sql(self, query):
        return [json.loads(line) for line in self.leat("sql", "--json", query).stdout.splitlines()]
