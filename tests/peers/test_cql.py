"""leat's client of the CQL native protocol (src/connect/cql, driven by cql_peer) against a real Cassandra; the Python driver reads back."""
import datetime
import decimal
import os
import pathlib
import subprocess
import threading
import time
import uuid

import pytest

pytest.importorskip("cassandra")
from cassandra.util import Date, Time  # noqa: E402

import cassandra_server as servers  # noqa: E402
from cassandra_server import cassandra_server  # noqa: E402,F401 (a fixture)
from tcp_proxy import FAULTS, KINDS, Proxy, disturb  # noqa: E402

PEER = pathlib.Path(os.environ.get("LEAT", "build/dev/leat")).parent / "cql_peer"
KEYSPACE = "CREATE KEYSPACE IF NOT EXISTS cql_test WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
UPSERTS = "CREATE TABLE cql_test.upserts (id bigint PRIMARY KEY, status text, updated_at timestamp)"


def peer(address, *arguments, **environment):
    done = subprocess.run([str(PEER), address, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})
    return done.returncode, done.stdout.strip()


@pytest.fixture(scope="module")
def session(cassandra_server):  # noqa: F811
    if not PEER.exists():
        pytest.skip("the program cql_peer is not built")
    assert peer(cassandra_server.address, "run", KEYSPACE) == (0, "")
    session = cassandra_server.connect()
    yield session
    session.cluster.shutdown()


@pytest.fixture
def upserts(cassandra_server, session):  # noqa: F811
    session.execute("DROP TABLE IF EXISTS cql_test.upserts")
    session.execute(UPSERTS)

    def check(n):
        reader = cassandra_server.connect()  # the other may not have noticed yet that the server is back
        rows = {r.id: (r.status, r.t) for r in reader.execute("SELECT id, status, writetime(status) AS t FROM cql_test.upserts")}
        reader.cluster.shutdown()
        assert rows == {i: ("shipped" if i % 2 else "delivered", i + 1) for i in range(n)}
    return check


def test_every_type_is_read_back(cassandra_server, session):  # noqa: F811
    assert peer(cassandra_server.address, "types") == (0, "")
    rows = {r.b: r for r in session.execute("SELECT * FROM cql_test.types")}
    wide = 1234567890123456789 * 1000000007
    for sign in (-1, 1):
        assert rows[sign * 1234567890123]._asdict() == {
            "b": sign * 1234567890123, "k": "grüß", "a": "ascii", "c": b"\x00\xff", "d": sign > 0,
            "e": decimal.Decimal(sign * wide).scaleb(-4), "f": sign * 1.5e300, "g": sign * 0.25, "h": sign * 123456,
            "i": datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=sign * 1700000000123),
            "j": uuid.UUID(bytes=b"0123456789abcdef"), "l": sign * wide, "m": Date(20000 * sign), "n": Time(86399999999000),
            "o": sign * 12345, "p": sign * 100, "q": None}
    times = [r[0] for r in session.execute("SELECT writetime(h) FROM cql_test.types")]
    assert sorted(times) == [6, 8]


def test_batches_and_pages(cassandra_server, session):  # noqa: F811
    assert peer(cassandra_server.address, "pages", 5000) == (0, str(5000 * 5001 // 2))
    assert session.execute("SELECT count(*) FROM cql_test.pages").one()[0] == 5000


def test_errors_say_what_the_server_said(cassandra_server, session):  # noqa: F811
    code, text = peer(cassandra_server.address, "run", "SELECT * FROM cql_test.nothing")
    assert code == 1 and "invalid request (0x2200): table nothing does not exist" in text
    code, text = peer("127.0.0.1:1," + cassandra_server.address, "run", "SELEKT")
    assert code == 1 and "syntax error (0x2000)" in text
    code, text = peer("127.0.0.1:1", "run", "SELECT now() FROM system.local")
    assert code == 1 and "127.0.0.1:1: cannot connect: Connection refused" in text


@pytest.mark.parametrize("fault", KINDS)
def test_network(cassandra_server, session, upserts, fault):  # noqa: F811
    """While upserts are on the way: all are confirmed in the end, and are there."""
    proxy = Proxy(cassandra_server.port)
    missing = []

    def disturb_all():
        for n in range(FAULTS, 0, -1):
            missing[:] = [n]
            time.sleep(0.15)
            disturb([proxy], fault, 1.5 if fault in ("blackhole", "partition") else 0.5)
        missing.clear()
    disturber = threading.Thread(target=disturb_all)
    disturber.start()
    while disturber.is_alive():  # the same ones again; its first connection alone it does not try again
        code, text = peer(proxy.address, "upserts", 20000, 200, CQL_TIMEOUT_MS="1000")
        assert code == 0 or "no host of Cassandra is ready" in text, text
    assert not missing
    assert peer(proxy.address, "upserts", 20000, 200, CQL_TIMEOUT_MS="1000")[0] == 0
    proxy.close()
    upserts(20000)


def test_killed_and_stopped_server(cassandra_server, session, upserts):  # noqa: F811
    """kill -9 and a stop for longer than the deadline, under load."""
    result = {}
    worker = threading.Thread(target=lambda: result.update(
        r=peer(cassandra_server.address, "upserts", 60000, 200, CQL_TIMEOUT_MS="1000")))
    worker.start()
    time.sleep(0.5)
    cassandra_server.pause()
    time.sleep(2.5)
    cassandra_server.go_on()
    time.sleep(0.5)
    cassandra_server.kill()
    cassandra_server.start()
    worker.join()
    assert result["r"][0] == 0, result
    upserts(60000)


def make_certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "rsa:2048", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=leat test authority")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("other", "subjectAltName=DNS:example.org"),
                            ("client", "extendedKeyUsage=clientAuth")):
        (folder / "extension").write_text(extension)
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem",
                "-days", "2", "-extfile", "extension")


def test_password_and_tls(tmp_path):
    if servers.missing():
        pytest.skip(servers.missing())
    make_certificates(tmp_path)
    text = {p.name: p.read_text() for p in tmp_path.iterdir() if p.suffix in (".pem", ".key")}
    server = servers.Cassandra(password=True, tls=(text["server.key"] + text["server.pem"], text["ca.pem"]))
    try:
        files = dict(CQL_CA=f"{tmp_path}/ca.pem", CQL_CERT=f"{tmp_path}/client.pem", CQL_KEY=f"{tmp_path}/client.key")
        login = dict(CQL_USER="cassandra", CQL_PASSWORD="cassandra")
        select = ("run", "SELECT key FROM system.local")
        for _ in range(100):  # the first user is made some time after the start
            code, said = peer(server.address, *select, **files, **login)
            if code == 0:
                break
            time.sleep(0.3)
        assert (code, said) == (0, "")
        assert peer(f"localhost:{server.port}", *select, **files, **login) == (0, "")
        code, said = peer(server.address, *select, **files, CQL_USER="cassandra", CQL_PASSWORD="nonsense")
        assert code == 1 and "authentication failed (0x0100)" in said and "nonsense" not in said
        code, said = peer(server.address, *select, **files)
        assert code == 1 and "asks for a user and a password" in said
        code, said = peer(server.address, *select, **login)  # not TLS
        assert code == 1
        code, said = peer(server.address, *select, CQL_CA=f"{tmp_path}/ca.pem", **login)  # no certificate of ours
        assert code == 1 and "TLS" in said
        code, said = peer(server.address, *select, **{**files, "CQL_CA": f"{tmp_path}/other.pem"}, **login)
        assert code == 1 and "certificate" in said
    finally:
        server.stop()
