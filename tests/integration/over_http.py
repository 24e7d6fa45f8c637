#!/usr/bin/env python3
"""The program over real HTTP, with nothing but Python's own library: kill -9 under load with lost answers (those of a webhook's receiver too), access, hostile input, slow clients,
limits. Usage: over_http.py LEAT FOLDER KILLS [SEED]"""
import gzip
import http.client
import http.server
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

ROOM = float(os.environ.get("LEAT_ROOM", "1"))  # so many times the memory: a sanitizer's own
LEAT, WORK, KILLS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 42
PROJECT = """
SET commit_interval = INTERVAL '200' MILLISECOND; SET bronze_interval = INTERVAL '300' MILLISECOND; SET compact_files = 8;
CREATE SOURCE events (event_id VARCHAR NOT NULL, card VARCHAR, amount BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH (connector = 'http');
CREATE MATERIALIZED TABLE by_id (PRIMARY KEY (event_id)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT event_id, count(*) AS n, sum(amount) AS total FROM events GROUP BY event_id;
CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT card, count(*) AS n, sum(amount) AS total FROM events GROUP BY card;
CREATE MATERIALIZED TABLE plain FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT event_id, amount FROM events WHERE amount > 90;
"""


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(map(str, what)))


servers = []


class Server:
    def __init__(self, name, *arguments, project=PROJECT, environment=None):
        self.dir, self.arguments, self.port = os.path.join(WORK, name), arguments, 0
        self.environment = dict(os.environ, **(environment or {}))
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        with open(self.dir + "/project.sql", "w") as out:
            out.write(project)
        servers.append(self)
        self.start()

    def start(self):
        self.process = subprocess.Popen([LEAT, "run", "--project", self.dir, "--listen", f"127.0.0.1:{self.port}", *self.arguments],
                                        stderr=subprocess.PIPE, text=True, env=self.environment)
        told = []
        for line in self.process.stderr:
            told.append(line)
            found = re.search(r"listens at https?://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise AssertionError(f"leat did not start: {told}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        check(code == 0, "exit code", code)

    def ask(self, method, path, body=None, headers=None, timeout=60, connection=None):
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path, body, headers or {})
            answer = c.getresponse()
            data = answer.read()
        except TimeoutError as error:
            raise AssertionError(f"{method} {path} {(body or '')[:80]}: no answer in {timeout} s") from error
        if not connection:
            c.close()
        return answer.status, data, dict(answer.getheaders())

    def json(self, path, expected=200):
        status, data, _ = self.ask("GET", path)
        check(status == expected, path, status, data[:300])
        return json.loads(data)

    def follow(self, table, after):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        s.sendall(f"GET /v1/tables/{table}/changes?after={after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return s

    def rows(self, table):
        rows, cursor = [], ""
        while cursor is not None:
            page = self.json(f"/v1/tables/{table}/rows?limit=500" + (f"&cursor={cursor}" if cursor else ""))
            rows += page["rows"]
            cursor = page["next"]
        return rows


JSON, LINES, TEXT = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}, {"Content-Type": "text/plain"}


def event(number, card="c", amount=1):
    return {"event_id": f"e{number}", "card": card, "amount": amount, "ts": "2026-01-01T00:00:00"}


# ---- kills ------------------------------------------------------------------------------------------------------------


class Client(threading.Thread):
    """Posts batches, each until it is acknowledged. A fifth of the answers is lost: the connection is closed instead of read."""

    def __init__(self, server, number, stop):
        super().__init__()
        self.server, self.number, self.stop_at, self.acked, self.lost, self.failure = server, number, stop, [], 0, None
        self.random = random.Random(SEED * 100 + number)

    def run(self):
        try:
            batch = 0
            while not self.stop_at.is_set():
                events = [event(f"{self.number}-{batch}-{i}", f"c{self.random.randrange(50)}", self.random.randrange(100)) for i in range(self.random.randrange(1, 20))]
                self.send(f"{self.number}/{batch}", events)
                batch += 1
        except Exception as error:  # told by the main thread
            self.failure = error

    def send(self, batch_id, events):
        body = "\n".join(map(json.dumps, events))
        headers = dict(LINES, **{"Leat-Batch-Id": batch_id})
        if self.random.random() < 0.3:
            body, headers = gzip.compress(body.encode()), dict(headers, **{"Content-Encoding": "gzip"})
        while True:
            try:
                if self.random.random() < 0.2:
                    c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
                    c.request("POST", "/v1/sources/events", body, headers)
                    time.sleep(self.random.random() * 0.01)
                    c.close()
                    self.lost += 1
                status, data, _ = self.server.ask("POST", "/v1/sources/events", body, headers)
                if status == 200:
                    answer = json.loads(data)
                    check(answer["accepted"] == len(events) and answer["rejected"] == 0, answer)
                    self.acked += events
                    return
                check(status in (429, 503), status, data)
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)


class Follower(threading.Thread):
    """Follows a table by Server-Sent Events, going on after the last id it has seen. One that is away stops reading after its first event, until told."""

    def __init__(self, server, table, away=False):
        super().__init__(daemon=True)
        self.server, self.table, self.events, self.last, self.resumed, self.failure = server, table, [], "0", 0, None
        self.is_back, self.done = threading.Event(), threading.Event()
        if not away:
            self.is_back.set()

    def run(self):
        while not self.done.is_set():
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=2)
                c.request("GET", f"/v1/tables/{self.table}/changes", headers={"Last-Event-ID": self.last})
                answer = c.getresponse()
                if answer.status != 200:
                    self.failure = f"{answer.status} {answer.read()}"
                    return
                self.resumed += 1
                self.read(answer)
                c.close()
                self.is_back.wait()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)

    def read(self, answer):
        got = {}
        while not self.done.is_set():
            line = answer.readline()
            if not line:
                return
            line = line.decode().rstrip("\n")
            if not line:
                if "data" in got:
                    check(got["event"] != "reset", self.table, "was reset")
                    self.events.append(json.loads(got["data"]))
                    self.last = got["id"]
                    if not self.is_back.is_set():
                        return
                got = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                got[name] = value


class Receiver(http.server.ThreadingHTTPServer):
    """Of a webhook. Keeps every body by its Idempotency-Key; a fifth of its answers is lost."""

    def __init__(self):
        self.bodies, self.other_bytes, self.asked, self.lost, self.random, self.guard = {}, [], 0, 0, random.Random(SEED), threading.Lock()
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, key, body):
        with self.guard:
            self.asked += 1
            if self.bodies.setdefault(key, body) != body:
                self.other_bytes.append(key)
            lost = self.random.random() < 0.2
            self.lost += lost
            return not lost

    def handle_error(self, request, address):
        pass  # leat was killed while it sent


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            self.close_connection = True
        elif self.server.take(self.headers["Idempotency-Key"], body):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.close_connection = True

    def log_message(self, *ignored):
        pass


def wait_until(done, followers, told, seconds=60):
    deadline = time.monotonic() + seconds
    while not done():
        check(time.monotonic() < deadline, f"not there after {seconds} s:", told())
        time.sleep(0.1)
        for f in followers:
            check(not f.failure, "follower of", f.table, f.failure)


def check_each_once(follower, expected):
    ids = [row["event_id"] for row in follower.events]
    check(len(ids) == len(set(ids)), follower.table, "a change came twice:", len(ids) - len(set(ids)))
    check(set(ids) == set(expected), f"{follower.table}: {len(expected)} changes, {len(ids)} seen")


def check_counts_rise(follower, rows):
    """A card's count rises with every change of it, and ends where the table is: no change is missing at the end, came twice, or out of order."""
    last = {}
    for row in follower.events:
        check(row["n"] > last.get(row["card"], {"n": 0})["n"], "a card's change came twice or late:", row)
        last[row["card"]] = row
    check(last == {row["card"]: row for row in rows}, "who followed the cards knows other ones")


def kills():
    receiver = Receiver()
    sink = f"CREATE SINK told FROM plain WITH (connector = 'webhook', url = 'http://127.0.0.1:{receiver.server_port}/', allow_private = true);\n"
    settings = "SET changes_history = '1 MiB'; SET checkpoint_records = 300; SET retry_backoff = '20 ms';\n"  # memory has little: who was away reads from disk
    server, stop, chance = Server("kills", project=settings + PROJECT + sink), threading.Event(), random.Random(SEED)
    clients = [Client(server, i, stop) for i in range(4)]
    by_id, plain, cards, away = followers = [Follower(server, *t) for t in (("by_id",), ("plain",), ("cards",), ("by_id", True))]
    for thread in [*clients, *followers]:
        thread.start()
    for _ in range(KILLS):
        before = sum(len(c.acked) for c in clients)
        while sum(len(c.acked) for c in clients) < before + 50 and not any(c.failure for c in clients):
            time.sleep(0.01)
        time.sleep(chance.random() * 0.4)
        server.kill()
        server.start()
    stop.set()
    for c in clients:
        c.join()
        check(not c.failure, "client", c.number, c.failure)
    away.is_back.set()
    acked = {e["event_id"]: e for c in clients for e in c.acked}
    over_90 = [e["event_id"] for e in acked.values() if e["amount"] > 90]
    wait_until(lambda: {r["event_id"] for r in server.rows("by_id")} == set(acked), followers, lambda: f"{len(acked)} acknowledged")
    seen = server.rows("by_id")
    wrong = [r for r in seen if r["n"] != 1 or r["total"] != acked[r["event_id"]]["amount"]]
    check(not wrong, "not exactly once:", wrong[:5])
    last_of_cards = {r["card"]: r for r in server.rows("cards")}
    check(sum(r["n"] for r in last_of_cards.values()) == len(acked), "cards")
    expected = {by_id: len(acked), away: len(acked), plain: len(over_90)}
    wait_until(lambda: all(len(f.events) >= n for f, n in expected.items()) and {row["card"]: row for row in cards.events[:]} == last_of_cards and
               len(receiver.bodies) >= len(over_90), followers,
               lambda: f"{[(f.table, len(f.events), n) for f, n in expected.items()]}, {len(receiver.bodies)} of {len(over_90)} at the webhook", 120)
    for f, expected in ((by_id, acked), (away, acked), (plain, over_90)):
        check_each_once(f, expected)
    check_counts_rise(cards, last_of_cards.values())
    check(not receiver.other_bytes, "other bytes under the same key:", receiver.other_bytes[:5])
    with receiver.guard:
        told = sorted(json.loads(body)["row"]["event_id"] for body in receiver.bodies.values())
    check(told == sorted(over_90), f"{len(over_90)} events, {len(told)} keys told to the webhook")
    for f in followers:
        f.done.set()
    server.stop()
    verify = subprocess.run([LEAT, "verify", "--project", server.dir], capture_output=True, text=True)
    check(verify.returncode == 0, verify.stdout, verify.stderr)
    receiver.shutdown()
    print(f"kills: {KILLS}, {len(acked)} events acknowledged, {sum(c.lost for c in clients)} answers lost, each event once; "
          f"{sum(f.resumed for f in followers)} streams, each change once, also for who was away all the time; webhook: {receiver.asked} requests, "
          f"{receiver.lost} answers lost, one body for each of {len(receiver.bodies)} keys")


def resets():
    """Who asks for changes that are no longer kept is told, gets the table's rows, and then what happens since."""
    server = Server("resets", project="SET changes_kept = 0; SET checkpoint_records = 1;\n" + PROJECT)
    for i in range(3):
        server.ask("POST", "/v1/sources/events?wait=cards", json.dumps(event(f"r{i}", f"c{i % 2}", 95)), JSON)
    server.stop()
    server.start()

    def follow(table):
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        c.request("GET", f"/v1/tables/{table}/changes", headers={"Last-Event-ID": "1.1"})
        return c, c.getresponse()

    c, answer = follow("cards")
    check(answer.status == 200, "reset", answer.status)
    server.ask("POST", "/v1/sources/events?wait=cards", json.dumps(event("r3", "c9", 5)), JSON)
    got = []
    while not got or got[-1].get("data") != {"card": "c9", "n": 1, "total": 5} or not any("start" == g["event"] for g in got):
        lines = {}
        while line := answer.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            lines[name] = value
        if "data" in lines:
            got.append(dict(lines, data=json.loads(lines["data"])))
    names = [g["event"] for g in got]
    check(names[0] == "reset" and "id" not in got[0], got)
    snapshot = {g["data"]["card"]: g["data"]["n"] for g in got[1:names.index("start")] if "id" not in g}
    check(snapshot["c0"] == 2 and snapshot["c1"] == 1 and names.index("start") == 1 + len(snapshot), got)
    check(got[names.index("start")]["data"] == got[0]["data"] and got[names.index("start")]["id"] == str(got[0]["data"]["step"]), got)
    c.close()
    check(follow("plain")[1].status == 410, "a table without a key")
    server.stop()
    print("resets: told, with the table's rows")


# ---- backups ------------------------------------------------------------------------------------------------------------


def leat(*arguments):
    done = subprocess.run([LEAT, *arguments], capture_output=True, text=True)
    check(done.returncode == 0, arguments, done.stdout, done.stderr)
    return done.stdout


def backups():
    """Backups under load: what was acknowledged before one is in it, once, and a copy that is restored goes on from there."""
    told = "CREATE SINK told FROM cards WITH (connector = 'file', path = 'told.ndjson', on_retract = 'send');"
    server, stop, place = Server("backups", project=PROJECT + told), threading.Event(), os.path.join(WORK, "backups-kept")
    clients, before, made = [Client(server, i, stop) for i in range(3)], [], []
    for client in clients:
        client.start()
    for name in ("one", "two", "three"):
        so_far = sum(len(c.acked) for c in clients)
        while sum(len(c.acked) for c in clients) < so_far + 200 and not any(c.failure for c in clients):
            time.sleep(0.01)
        before.append({e["event_id"]: e["amount"] for c in clients for e in list(c.acked)})
        made.append(json.loads(leat("backup", place, "--project", server.dir, "--name", name, "--json")))
    stop.set()
    for c in clients:
        c.join()
        check(not c.failure, "client", c.number, c.failure)
    server.stop()
    check(leat("backup", place, "--project", server.dir, "--list").count("\n") == 3, "three versions")
    sent = {f"{c.number}" for c in clients}
    for name, acked in zip(("one", "three"), before[::2]):
        copy = os.path.join(WORK, "backups-" + name)
        shutil.rmtree(copy, ignore_errors=True)
        leat("restore", place, "--project", copy, "--name", name)
        leat("run", "--once", "--project", copy)
        leat("verify", "--project", copy)
        rows = [json.loads(line) for line in leat("sql", "--project", copy, "--json", "SELECT event_id, n, total FROM by_id").splitlines()]
        there = {r["event_id"]: r for r in rows}
        check(not set(acked) - set(there), f"{name}: acknowledged before the backup and not in it:", list(set(acked) - set(there))[:5])
        wrong = [r for r in rows if int(r["n"]) != 1 or int(r["total"]) != acked.get(r["event_id"], int(r["total"]))]
        check(not wrong, name, "not exactly once:", wrong[:5])
        check(all(i[1:].split("-")[0] in sent for i in there), name, "records that nobody sent")
    print(f"backups: {len(made)} under load, each with all of {[len(b) for b in before]} events acknowledged before it; "
          f"the last copied {made[-1]['copied_bytes'] / 1e6:.1f} of {made[-1]['bytes'] / 1e6:.1f} MB in {made[-1]['ms']} ms")


# ---- access -------------------------------------------------------------------------------------------------------------

READ, WRITE, ADMIN, OLD = "token-for-reading-1", "token-for-writing-1", "token-for-admins-01", "token-that-expired1"


def paths_of(server, headers):
    """Every route of the description, with names that exist."""
    status, data, _ = server.ask("GET", "/v1/openapi.json", headers=headers)
    check(status == 200, "openapi", status)
    for path, operations in json.loads(data)["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path.replace("{table}", "cards").replace("{source}", "events").replace("{key}", "c1").replace("{file}", ""), operation["x-leat-role"]


def access():
    tokens = os.path.join(WORK, "tokens")
    with open(tokens, "w") as out:
        out.write(f"read {READ}\nwrite {WRITE}\nadmin {ADMIN}\nadmin {OLD} 2020-01-01T00:00:00\n")
    server = Server("access", "--tokens", tokens)
    bearer = lambda token: {"Authorization": f"Bearer {token}"}
    tried = 0
    for method, path, role in paths_of(server, bearer(ADMIN)):
        stream = path.endswith("changes") or path.endswith("events") and method == "GET" and "status" in path
        for token, roles in ((None, ()), ("wrong", ()), ("wrong-token-000000001", ()), (OLD, ()), (READ, ("read",)), (WRITE, ("write",)), (ADMIN, ("read", "write", "admin"))):
            allowed = role == "none" or role in roles
            expected = None if allowed else 403 if roles else 401
            if allowed and stream:
                continue  # it would not end
            body = None if method != "POST" else b"" if path == "/v1/alter" else b"SELECT 1"  # a change would close the server
            status, _, headers = server.ask(method, path, body, dict(TEXT, **(bearer(token) if token else {})))
            check(status not in (401, 403) if allowed else status == expected, method, path, token, status)
            check(status != 401 or "WWW-Authenticate" in headers, "no WWW-Authenticate")
            tried += 1
    status, data, _ = server.ask("GET", "/v1/status", headers=bearer(ADMIN))
    check(status == 200 and ADMIN.encode() not in data, "status", status)
    server.stop()
    inside = os.path.join(server.dir, "tokens")
    shutil.copy(tokens, inside)
    for arguments, environment, words in ((["--tokens", inside], {}, "inside the project"), ([], {"LEAT_TOKENS": "read short"}, "too short"),
                                          (["--tokens", "/nonexistent"], {}, "nonexistent")):
        refused = subprocess.run([LEAT, "run", "--project", server.dir, "--listen", "127.0.0.1:0", *arguments], capture_output=True, text=True,
                                 env=dict(os.environ, **environment), timeout=30)
        check(refused.returncode and words in refused.stderr and ADMIN not in refused.stderr, refused.returncode, refused.stderr)
    os.remove(inside)
    refused = subprocess.run([LEAT, "run", "--project", server.dir, "--listen", "0.0.0.0:0"], capture_output=True, text=True, timeout=30)
    check(refused.returncode and "other machines" in refused.stderr, refused.stderr)
    print(f"access: {tried} requests, every route with every credential")


def no_tokens():
    server = Server("open")
    for host, expected in (("localhost", 200), ("127.0.0.1:99", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)):
        status, _, _ = server.ask("GET", "/v1/tables", headers={"Host": host})
        check(status == expected, "Host", host, status)
    for origin, expected in (("http://evil.example", 403), ("null", 403), (f"http://127.0.0.1:{server.port}", 200)):
        status, _, _ = server.ask("POST", "/v1/sources/events", json.dumps(event(1)), dict(JSON, Origin=origin))
        check(status == expected, "Origin", origin, status)
    server.stop()


def tls():
    if not shutil.which("openssl"):
        print("tls skipped: openssl is not here to make a certificate")
        return
    certificate, key = os.path.join(WORK, "cert.pem"), os.path.join(WORK, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    server = Server("tls", "--tls-certificate", certificate, "--tls-key", key)
    context = ssl.create_default_context(cafile=certificate)
    c = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
    status, _, _ = server.ask("POST", "/v1/sources/events", json.dumps(event(1)), JSON, connection=c)
    check(status == 200, "TLS", status)
    c.close()
    server.stop()
    print("tls: a record over HTTPS")


# ---- what is asked wrongly ----------------------------------------------------------------------------------------------------


def statuses():
    server = Server("statuses")
    post = "/v1/sources/events"
    deep = '{"event_id":"d","card":' + '{"a":' * 65 + "1" + "}" * 65 + "}"
    cases = [
        ("POST", post, json.dumps(event(1)), JSON, 200), ("POST", post, json.dumps([event(2), event(3)]), JSON, 200),
        ("POST", post, json.dumps(event(4)) + "\n" + json.dumps(event(5)), LINES, 200), ("POST", post, json.dumps(event(6), indent=2), JSON, 200),
        ("POST", post, "{", JSON, 400), ("POST", post, deep, JSON, 400), ("POST", post, "", JSON, 400), ("POST", post, "[]", JSON, 400),
        ("POST", post, "a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415), ("POST", post, "x", dict(JSON, **{"Content-Encoding": "br"}), 415),
        ("POST", post, "not gzip", dict(JSON, **{"Content-Encoding": "gzip"}), 400),
        ("POST", post + "?wait=none", "{}", JSON, 400), ("POST", post + "?wiat=cards", "{}", JSON, 400), ("POST", "/v1/sources/none", "{}", JSON, 404),
        ("PUT", post, "{}", JSON, 405), ("GET", "/v1/sql", None, {}, 405), ("GET", "/v1/tables/none", None, {}, 404), ("GET", "/v1/none", None, {}, 404),
        ("GET", "/v1/tables/cards/rows/none", None, {}, 404), ("GET", "/v1/tables/cards/rows/a/b", None, {}, 400), ("GET", "/v1/tables/plain/rows/a", None, {}, 400),
        ("GET", "/v1/tables/cards/rows?limit=0", None, {}, 400), ("GET", "/v1/tables/cards/rows?n=x", None, {}, 400), ("GET", "/v1/tables/cards/rows?m=1", None, {}, 400),
        ("GET", "/v1/tables/cards/rows?format=xml", None, {}, 400), ("GET", "/v1/tables/cards/changes?after=x", None, {}, 400),
        ("GET", "/v1/tables/plain/changes?after=999999999", None, {}, 410), ("GET", "/v1/tables/cards/rows?cursor=1.1", None, {}, 410),
        ("GET", "/v1/tables/cards/rows?cursor=x", None, {}, 400), ("GET", "/v1/tables/plain/rows?cursor=0&limit=1", None, {}, 200),
        ("POST", "/v1/sql", "SELECT 1", TEXT, 200), ("POST", "/v1/sql", '{"sql":"SELECT 1;"}', JSON, 200), ("POST", "/v1/sql", "SELEC 1", TEXT, 400),
        ("POST", "/v1/sql", "DROP TABLE cards", TEXT, 400), ("POST", "/v1/sql", "SELECT 1; SELECT 2", TEXT, 400),
        ("POST", "/v1/sql", "SELECT * FROM read_text('/etc/passwd')", TEXT, 400), ("POST", "/v1/sql", "SELECT * FROM 'http://127.0.0.1:1/x.csv'", TEXT, 400),
        ("POST", "/v1/sql", "COPY (SELECT 1) TO '/tmp/leat-was-here'", TEXT, 400), ("POST", "/v1/sql", "SET enable_external_access = true", TEXT, 400),
        ("POST", "/v1/sql", "INSTALL httpfs", TEXT, 400), ("POST", "/v1/sql", "ATTACH '/tmp/leat-was-here.db'", TEXT, 400),
        ("POST", "/v1/sql?timeout=300", "SELECT count(*) FROM range(1000000) a, range(1000000) b", TEXT, 504),
        ("POST", "/v1/sql", "SELECT repeat('x', 1000000) FROM range(1000)", TEXT, 413),
        ("GET", "/", None, {}, 200), ("GET", "/docs", None, {}, 200), ("GET", "/healthz", None, {}, 200), ("GET", "/readyz", None, {}, 200),
        ("GET", "/../../../../etc/passwd", None, {}, 404), ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, {}, 404),
        ("GET", "/v1/status", None, {"X-Long": "x" * 40000}, 431), ("GET", "/v1/tables/" + "x" * 40000, None, {}, 414),
    ]
    for method, path, body, headers, expected in cases:
        status, data, answered = server.ask(method, path, body, headers)
        check(status == expected, method, path[:80], (body or "")[:60], "expected", expected, "not", status, data[:200])
        if status >= 400 and status not in (431, 414):
            check("message" in json.loads(data)["error"], "an error without its message")
        if status == 405:
            check("Allow" in answered, "no Allow")
    check(not os.path.exists("/tmp/leat-was-here") and not os.path.exists("/tmp/leat-was-here.db"), "SQL wrote a file")
    big = b"[" + b'{"event_id":"x"},' * 1000000
    for headers in (JSON, dict(JSON, **{"Transfer-Encoding": "chunked"})):
        try:
            c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            c.request("POST", post, iter([big[i:i + 65536] for i in range(0, len(big), 65536)]) if "Transfer-Encoding" in headers else big, headers,
                      encode_chunked="Transfer-Encoding" in headers)
            status = c.getresponse().status
            check(status == 413, "a body of 17 MB", status)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed in the midst of it: refused all the same
    status, data, _ = server.ask("POST", post + "?wait=cards", json.dumps(event("w", "waited", 7)), JSON)
    changes = json.loads(data)["wait"]["changes"]
    check(status == 200 and changes == [{"op": "upsert", "row": {"card": "waited", "n": 1, "total": 7}}], changes)
    status, data, _ = server.ask("GET", "/v1/tables/cards/rows/waited")
    check(json.loads(data) == {"card": "waited", "n": 1, "total": 7}, data)
    named = dict(JSON, **{"Leat-Batch-Id": "one"})
    answers = [server.ask("POST", post, json.dumps(body), named) for body in (event("one"), [event("one")], event("other"))]
    check([a[0] for a in answers] == [200, 200, 409] and json.loads(answers[1][1])["duplicate"] and b"used for other records" in answers[2][1], answers)
    for name, expected in ((b"\xff\xfe", 400), ("é".encode() * 1500, 202)):  # the second is longer than an error's text, which is cut within a letter
        status, data, answered = server.ask("POST", "/v1/alter", b'ALTER MATERIALIZED TABLE "' + name + b'" SUSPEND', TEXT)
        check(status == expected, "alter", name[:10], status, data[:200])
        while status in (202, 503):  # closed for a moment, perhaps
            time.sleep(0.05)
            try:
                status, data, _ = server.ask("GET", answered["Location"])
            except OSError:
                check(server.process.poll() is None, "leat has died")
        check(status in (400, 409) and "message" in json.loads(data)["error"], "alter", status, data[:200])
    server.stop()
    print(f"statuses: {len(cases)} requests")


def hostile():
    server, chance = Server("hostile"), random.Random(SEED)
    before = sorted(os.listdir(WORK))
    pieces = ["..", "/", "%2e%2e", "%2f", "\\", "%00", "%0d%0a", "'", '"', ";", "--", "DROP TABLE cards", "$(id)", "`id`", "${HOME}", "|", "*", "?", "#", "%", "%ff", "é", "\t",
              "a" * 300, "http://169.254.169.254/", "file:///etc/passwd", "cards", "events", "__late", "lake", ".leat", "\x01", "%u0041", "+", "&", "=", "[", "]", "{", "}", "<script>"]
    answered = closed = 0
    for number in range(2000):
        part = "".join(chance.choice(pieces) for _ in range(chance.randrange(1, 6)))
        target = chance.choice(["/", "/v1/tables/", "/v1/sources/", "/v1/tables/cards/rows/", "/v1/tables/cards/rows?", "/v1/tables/cards/changes?after=", ""]) + part
        body = bytes(chance.randrange(256) for _ in range(chance.randrange(200))) if number % 3 else ('{"event_id":"' + part + '","ts":"' + part + '"}').encode("utf-8", "replace")
        method = chance.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD", "FOO"])
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {chance.choice(['application/json', 'application/x-ndjson', part])}\r\n" \
               f"Leat-Batch-Id: {part}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            try:
                s.sendall(head.encode("utf-8", "replace") + body)
                s.settimeout(0.3 if "changes" in target else 10)
                got = s.recv(65536)
            except (ConnectionResetError, BrokenPipeError, socket.timeout):
                got = b""
        if got:
            answered += 1
            check(got.startswith(b"HTTP/1."), got[:100])
            check(not got.startswith(b"HTTP/1.1 500"), target, got[:300])
        else:
            closed += 1
    check(server.process.poll() is None, "leat has died")
    check(server.json("/v1/tables")["tables"], "no tables")
    check(sorted(os.listdir(WORK)) == before, "something appeared beside the project")
    check(sorted(os.listdir(server.dir)) == [".leat", "lake", "project.sql"], os.listdir(server.dir))
    server.stop()
    print(f"hostile: 2000 requests, {answered} answered, {closed} closed")


def framing():
    """Requests of which two readers could think that they end in different places: refused, and nothing behind them is read as a request."""
    server, record = Server("framing"), json.dumps(event(1)).encode()
    chunked, length = b"%x\r\n%s\r\n0\r\n\r\n" % (len(record), record), f"Content-Length: {len(record)}\r\n"
    coding = "Transfer-Encoding: chunked\r\n"
    cases = [(length, record, ["200", "200"]), (coding, chunked, ["200", "200"]),
             ("Content-Length: 2\r\n" + length, record, ["400"]), (length + "Content-Length: 2\r\n", record, ["400"]), (length + length, record, ["400"]),
             ("Content-Length: 0\r\n" + length, record, ["400"]), (length + coding, chunked, ["400"]), ("Content-Length: 0\r\n" + coding, chunked, ["400"]),
             (coding + coding, chunked, ["400"]), ("Transfer-Encoding: gzip, chunked\r\n", chunked, ["400"]), ("Transfer-Encoding: xchunked\r\n", chunked, ["400"])]
    for head, body, expected in cases:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            s.sendall(f"POST /v1/sources/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n".encode() + body +
                      b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            got = b""
            try:
                while piece := s.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
        check(re.findall(r"HTTP/1.1 (\d+)", got.decode()) == expected, head, got)
    server.stop()
    print(f"framing: {len(cases)} requests")


def waits():
    """Each of many at once is told just what its own record changed."""
    server, wrong = Server("waits"), []

    def ask(number):
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for i in range(150):
            card = f"w{number}-{i}"
            status, data, _ = server.ask("POST", "/v1/sources/events?wait=cards", json.dumps(event(card, card, i)), JSON, connection=c)
            answer = json.loads(data)
            if status != 200 or answer["wait"]["changes"] != [{"op": "upsert", "row": {"card": card, "n": 1, "total": i}}]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, len(wrong), "wrong, such as", wrong[:1])
    for total in (1, 2):  # of 12,000 keys each change once, also where a row takes another's place
        body = "\n".join(json.dumps(event(number, f"many{number}")) for number in range(12000))
        changes = json.loads(server.ask("POST", "/v1/sources/events?wait=cards", body, LINES)[1])["wait"]["changes"]
        check(sorted(set((change["op"], change["row"]["n"]) for change in changes)) == [("upsert", total)] and len(changes) == 12000, len(changes), changes[:2])
    server.stop()
    print("waits: 1200, each with its own change")


def stopped_while_waiting():
    """Records that are durable, and whoever waits for what they cause, when leat is told to stop."""
    server = Server("stopped")

    def ask(number):
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            while True:
                server.ask("POST", "/v1/sources/events?wait=cards", json.dumps(event(number, f"s{number}")), JSON, connection=c)
        except (OSError, http.client.HTTPException):
            pass

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    server.stop()
    for thread in threads:
        thread.join()
    print("stopped while 16 wait")


def copies():
    """Equal rows of a table without a key: each is an event and a change of its own, and who comes back between two of them gets the others."""
    server = Server("copies", project=PROJECT.replace("SELECT event_id, amount FROM events", "SELECT card, amount FROM events"))
    body = "\n".join(json.dumps(event(number, "z" if number == 5 else "c", 99)) for number in range(6))
    answer = json.loads(server.ask("POST", "/v1/sources/events?wait=plain", body, LINES)[1])
    check([change["row"]["card"] for change in answer["wait"]["changes"]] == ["c"] * 5 + ["z"], answer)

    def ids(after):
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        c.request("GET", f"/v1/tables/plain/changes?after={after}")
        answer, text, step = c.getresponse(), b"", str(after).split(".")[0]
        while not re.search(rb"id: \d+\n[^\0]*\n\n", text):
            text += answer.read1(4096)
        c.close()
        return re.findall(r"id: (\S+)", text.decode())

    every = ids(0)
    check(len(every) == 6, every)
    for number, known in enumerate(every[:-1]):
        check(ids(known) == every[number + 1:], "after", known, ids(known))
    server.stop()
    print("copies: 5 equal rows, resumed behind each")


def queries_over_their_time():
    server, endless = Server("overtime"), "SELECT count(*) FROM range(1000000) a, range(10000000) b WHERE a.range + b.range = 7"
    for ms in (1, 1, 1, 5, 50):
        status, data, _ = server.ask("POST", f"/v1/sql?timeout={ms}", endless, TEXT, timeout=30)
        check(status == 504, "timeout", ms, status, data)
    status, data, _ = server.ask("POST", "/v1/sql?format=ndjson", f"SELECT range AS {'a' * 1000} FROM range(400000)", TEXT)  # 3 MB, told in 400
    check(status == 413, "a long answer", status, len(data))
    server.stop()
    print("queries: stopped at their time, also while they are planned, and at the size of their answer")


def family(pid):
    """The process and those that it started."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as children:
            pids += [int(child) for child in children.read().split()]
    return pids


def resident(pid, field):
    try:
        with open(f"/proc/{pid}/status") as status:
            return int(re.search(field + r":\s+(\d+) kB", status.read()).group(1)) * 1024
    except (OSError, AttributeError):  # it has ended
        return 0


class Watched(threading.Thread):
    """The most memory that a server and its processes together held."""
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.over = pid, 0, False
        self.start()

    def run(self):
        while not self.over:
            self.most = max(self.most, sum(resident(pid, "VmRSS") for pid in family(self.pid)))
            time.sleep(0.01)


def greedy_queries():
    """Queries that make much out of little: in memory, which DuckDB does not count, and in time, in which it does not look whether it should stop."""
    server = Server("greedy")
    status, data, _ = server.ask("POST", "/v1/sources/events?wait=cards", json.dumps(event(1)), JSON)
    check(status == 200, status, data)
    pid, one = server.process.pid, (200, b'{"n":1}\n')
    watched = Watched(pid)

    def works():
        status, data, _ = server.ask("POST", "/v1/sql?format=ndjson", "SELECT 1 AS n", TEXT, timeout=20)
        check((status, data) == one, "the next query", status, data)

    works()
    for sql, expected in (("SELECT repeat('x', 3000000000)", (413, 500)), ("SELECT list_aggregate(range(1000000000), 'sum')", (413, 500)),
                          ("SELECT len(list_transform(range(30000000), x -> repeat('x', 100 + x)))", (413, 500, 504)),
                          ("SELECT sum(len(repeat('x', 100000000 + range::INT))) FROM range(40) WHERE range < 40", (200, 413, 500, 504)),
                          ("SELECT regexp_matches(repeat('a', 50000000), '(a|b|ab)*c') OR list_sort(list_transform(range(20000000), x -> hash(x)))[1] = 1", (200, 413, 500, 504))):
        began = time.monotonic()
        status, data, _ = server.ask("POST", "/v1/sql?timeout=1000", sql, TEXT, timeout=30)
        took = time.monotonic() - began
        check(status in expected, sql, status, data[:300])
        check(took < 10, sql, "took", took)
        works()
    children = family(pid)[1:]
    check(children, "no process runs queries")
    for child in children:  # as the kernel does where memory is short
        os.kill(child, signal.SIGKILL)
    time.sleep(1)
    for _ in range(4):
        works()
    for format, begins in (("parquet", b"PAR1"), ("arrow", b"\xff\xff\xff\xff"), ("csv", b"card,n,total")):
        status, data, _ = server.ask("GET", f"/v1/tables/cards/rows?format={format}")
        check(status == 200 and data.startswith(begins), format, status, data[:100])
    watched.over = True
    peak = resident(pid, "VmHWM")
    check(peak < ROOM * 300e6, "queries took of the server's memory", peak)
    check(watched.most < 2.6e9, "queries took, all processes together", watched.most)
    threading.Thread(target=lambda: swallow(server, "SELECT count(*) FROM range(1000000) a, range(10000000) b WHERE a.range + b.range = 7"), daemon=True).start()
    time.sleep(0.5)
    children = family(pid)[1:]
    server.kill()
    for _ in range(100):
        if not any(resident(child, "VmRSS") for child in children):
            break
        time.sleep(0.05)
    else:
        check(False, "processes outlived their server", children)
    print(f"greedy queries: the server's memory at most {peak / 1e6:.0f} MB, with its processes {watched.most / 1e6:.0f} MB")


def unread_answers():
    """Large answers of queries whose clients do not read: the server holds so many of them and refuses the next until they are gone."""
    server, held = Server("unread"), []
    sql = "SELECT repeat('x', 1000000) AS x FROM range(240)"
    for _ in range(6):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=300)
        s.sendall(f"POST /v1/sql?format=arrow&timeout=300000 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {len(sql)}\r\n\r\n{sql}".encode())
        held.append(s)
    answers = [s.recv(12).decode()[9:] for s in held]
    check(answers.count("200") >= 3 and answers.count("429") >= 1 and len(set(answers)) == 2, answers)
    peak = resident(server.process.pid, "VmHWM")
    for s in held:
        s.close()
    for _ in range(100):
        status, data, _ = server.ask("POST", "/v1/sql?format=arrow", sql, TEXT)
        if status != 429:
            break
        time.sleep(0.1)
    check(status == 200 and len(data) > 240e6, "when they are gone", status)
    threading.Thread(target=lambda: swallow(server, "SELECT list_sort(list_transform(range(20000000), x -> hash(x)))[1] + list_aggregate(range(50000000), 'sum')"), daemon=True).start()
    time.sleep(1)
    server.stop()
    print(f"unread answers: {answers.count('200')} of 240 MB held, {answers.count('429')} refused, peak memory {peak / 1e6:.0f} MB")


def swallow(server, sql):
    try:
        server.ask("POST", "/v1/sql", sql, TEXT)
    except (OSError, http.client.HTTPException):
        pass


def large_rows():
    """Followers that do not read, of a table with rows of 100 kB: each holds a piece of them. Those that read get all."""
    server = Server("large")
    followers = [server.follow("cards", "now") for _ in range(120)]
    body = "\n".join(json.dumps(event(number, f"{number:03}" + "x" * 100000)) for number in range(140))
    check(server.ask("POST", "/v1/sources/events?wait=plain", body, LINES)[0] == 200, "large rows")
    time.sleep(2)
    peak = json.loads(server.ask("GET", "/v1/status")[1])["peak_bytes"]
    check(peak < ROOM * 600e6, "followers took", peak)
    for s in (followers[0], server.follow("cards", "0")):
        seen, rest = set(), b""
        while len(seen) < 140:
            rest += s.recv(1 << 20)
            seen.update(re.findall(rb'"card":"(\d{3})x', rest))
            rest = rest[-20:]
    page = server.json("/v1/tables/cards/rows?limit=10000")
    check(page["next"] and len(page["rows"]) < 100, "a page of", len(page["rows"]))
    check(len(server.json("/v1/tables/cards/rows?limit=10000&n=2")["rows"]) == 0, "rows that do not fit")
    check(sorted(row["card"][:3] for row in server.rows("cards")) == [f"{number:03}" for number in range(140)], "pages")
    for s in followers:
        s.close()
    server.stop()
    print(f"large rows: 120 followers, peak memory {peak / 1e6:.0f} MB")


def stuffed():
    """Bodies that nobody asked for, or that are too many, are not kept in memory."""
    server, held = Server("stuffed"), []
    for i in range(60):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        path = "GET /healthz" if i % 2 else "POST /v1/sources/events"
        s.sendall(f"{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15000000\r\n\r\n".encode())
        held.append(s)
    for _ in range(14):
        for s in held:
            s.sendall(b" " * 1000000)
    peak = json.loads(server.ask("GET", "/v1/status")[1])["peak_bytes"]
    check(peak < ROOM * 600e6, "bodies took", peak)
    for s in held:
        s.close()
    server.stop()
    print(f"stuffed: 60 bodies of 14 MB under way, peak memory {peak / 1e6:.0f} MB")


def bomb():
    server = Server("bomb")
    member = gzip.compress(b" " * (10 << 20), 9)  # a thousand of them: 10 GB of nothing in 10 MB
    body = member * 1000
    status, data, _ = server.ask("POST", "/v1/sources/events", body, dict(JSON, **{"Content-Encoding": "gzip"}))
    check(status == 413, "bomb", status, data)
    peak = json.loads(server.ask("GET", "/v1/status")[1])["peak_bytes"]
    check(peak < ROOM * 300e6, "the bomb took", peak)
    server.stop()
    print(f"bomb: 10 GB in {len(body) / 1e6:.0f} MB stopped at the cap, peak memory {peak / 1e6:.0f} MB")


def slow_clients():
    server, held = Server("slow"), []
    for i in range(1000):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        s.sendall(b"GET /v1/tables HTTP/1.1\r\nHost: loc" if i % 2 else b"POST /v1/sources/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        held.append(s)
    for i in range(50):
        status, _, _ = server.ask("POST", "/v1/sources/events", json.dumps(event(i)), JSON)
        check(status == 200, "beside slow clients", status)
    for s in held:
        s.close()
    server.stop()
    print("slow clients: 1000 held, others served")


if __name__ == "__main__":
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    only = os.environ.get("ONLY", "").split(",") if os.environ.get("ONLY") else None
    for part in (statuses, waits, access, no_tokens, tls, framing, hostile, bomb, stuffed, large_rows, slow_clients, stopped_while_waiting, copies, queries_over_their_time, greedy_queries, unread_answers, resets, backups, kills):
        if not only or part.__name__ in only:
            try:
                part()
            finally:
                for server in servers:
                    if getattr(server, "process", None) and server.process.poll() is None:
                        server.process.kill()
