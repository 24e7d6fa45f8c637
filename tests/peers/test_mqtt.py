"""MQTT as a source, against a real broker."""
import contextlib
import json
import os
import select
import shutil
import socket
import ssl
import threading
import time

import pytest

servers = pytest.importorskip("servers")

from tcp_proxy import FAULTS, KINDS, Proxy, disturb  # noqa: E402

KILLS = int(os.environ.get("LEAT_KILLS", "5"))

PROJECT = """SET commit_interval = INTERVAL '1' SECOND;
CREATE SOURCE readings (id VARCHAR NOT NULL, value DOUBLE) INCLUDE topic, offset AS place
WITH (connector = 'mqtt', host = '%s', port = %d, topic = 'plant/+/temperature, alarms/#', client_id = 'leat-test-%s'%s);
CREATE MATERIALIZED TABLE taken FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM readings;
CREATE MATERIALIZED TABLE once FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT ON (id) id, value, topic FROM readings;
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    try:
        with servers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) as server:
            yield server
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")


def project(folder, port, name, options="", host="127.0.0.1"):
    return servers.Project(folder, PROJECT % (host, port, name, options), env={"MQTT_PASSWORD": "geheim"})


def payloads(name, numbers):
    return [json.dumps({"id": f"{name}-{n}", "value": n / 4}) for n in numbers]


def once(p):
    return {r["id"]: r for r in p.sql("SELECT * FROM once")}


def test_topics_and_what_came_while_leat_was_away(broker, tmp_path):
    p = project(tmp_path, broker.port, "away")
    p.once()  # subscribes
    broker.publish("plant/7/temperature", payloads("a", range(1000)))
    broker.publish("plant/7/pressure", payloads("not ours", range(5)))
    broker.publish("alarms/fire/hall", payloads("b", range(3)) + ["no JSON", '{"value":1}'])
    p.once()
    there = once(p)
    assert len(there) == 1003 and there["a-5"]["topic"] == "plant/7/temperature" and there["b-2"] == {"id": "b-2", "value": "0.5", "topic": "alarms/fire/hall"}
    assert p.sql("SELECT count(*) AS n, max(place) AS top FROM taken") == [{"n": "1003", "top": "1002"}]
    assert p.sql("SELECT count(*) AS n FROM readings__dead") == [{"n": "2"}]
    broker.stop()  # the broker's session outlives it
    broker.start()
    broker.publish("plant/8/temperature", payloads("c", range(10)))
    shutil.rmtree(tmp_path / ".leat")  # the work folder is lost: what was acknowledged is in bronze
    p.once()
    assert len(once(p)) == 1013 and p.sql("SELECT count(*) AS n FROM taken") == [{"n": "1013"}]


def test_kill_9_under_load(broker, tmp_path):
    p = project(tmp_path, broker.port, "kill")
    p.once()
    sent, stop = [0], threading.Event()

    def load():
        while not stop.is_set():
            broker.publish("plant/1/temperature", payloads("k", range(sent[0], sent[0] + 200)))
            sent[0] += 200

    writer = threading.Thread(target=load)
    writer.start()
    try:
        for _ in range(KILLS):
            p.start()
            time.sleep(0.7)
            p.kill()
    finally:
        stop.set()
        writer.join()
    p.once()
    assert set(once(p)) == {f"k-{n}" for n in range(sent[0])}
    print(f"leat killed {KILLS} times; {sent[0]} messages")


@pytest.mark.parametrize("fault", KINDS)
def test_a_bad_network(broker, tmp_path, fault):
    proxy = Proxy(broker.port)
    p = project(tmp_path, proxy.port, f"net-{fault}", ", keepalive = INTERVAL '5' SECOND, timeout = INTERVAL '2' SECOND")
    p.once()
    p.start()
    for n in range(FAULTS):
        disturb([proxy], fault, 4 if fault == "partition" else 1, lambda: broker.publish("alarms/x", payloads("n", range(100 * n, 100 * n + 100))))
    assert p.stop() == 0
    p.once()
    assert set(once(p)) == {f"n-{n}" for n in range(100 * FAULTS)}
    proxy.close()


def test_a_broker_that_promises_less_or_forgets_is_told(tmp_path):
    """QoS 0 where 1 is asked for, and a session that is not there any more: messages are lost, and nobody would know."""
    try:
        broker = servers.Mosquitto(tmp_path / "broker", settings=["max_qos 0"])
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")
    with broker:
        with project(tmp_path / "less", broker.port, "less"):
            log = tmp_path / "less/leat.log"
            servers.wait_for("it is told", lambda: "grants QoS 0 for 'alarms/#'" in log.read_text(), 30)
        project(tmp_path / "fine", broker.port, "fine", ", qos = 0").once()
    broker = servers.Mosquitto(tmp_path / "second")
    with broker:
        p = project(tmp_path / "p", broker.port, "forgets")
        p.once()
        broker.publish("alarms/x", payloads("t", range(10)))
        assert "has no session" not in p.once().stderr
        broker.stop()
        (tmp_path / "second/mosquitto.db").unlink()
        broker.start()
        assert "the broker has no session of 'leat-test-forgets'" in p.once().stderr
        assert "has no session" not in p.once().stderr and len(once(p)) == 10


def test_tls_and_a_password(tmp_path):
    try:
        broker = servers.Mosquitto(tmp_path / "broker", tls=True)
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")
    with broker:
        options = f", tls = true, ca_file = '{tmp_path}/broker/ca.pem', username = 'leat', password = '${{MQTT_PASSWORD}}'"
        p = project(tmp_path / "p", broker.port, "tls", options, "localhost")
        p.once()
        broker.publish("alarms/x", payloads("t", range(10)))
        p.once()
        assert len(once(p)) == 10
        for name, wrong, said in (("q", options.replace("'leat'", "'somebody'"), "the broker does not let us in"),
                                  ("r", ", tls = true, username = 'leat', password = '${MQTT_PASSWORD}'", "source readings: MQTT")):  # unknown authority
            with project(tmp_path / name, broker.port, name, wrong, "localhost"):
                log = tmp_path / name / "leat.log"
                servers.wait_for(said, lambda: said in log.read_text(), 30)
            assert "geheim" not in log.read_text()


class Joining:
    """TLS in front of a broker without; what the broker says within a moment is one TLS record, as brokers send it that have more to do."""

    def __init__(self, port, folder):
        folder.mkdir()
        servers.certificates(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.broker, self.listener = port, socket.create_server(("127.0.0.1", 0))
        self.port, self.joined, self.brokers = self.listener.getsockname()[1], 0, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, broker = self.context.wrap_socket(self.listener.accept()[0], server_side=True), socket.create_connection(("127.0.0.1", self.broker))
                self.brokers.append(broker)
                threading.Thread(target=self.forward, args=(client, broker), daemon=True).start()

    def reset(self):
        for broker in self.brokers:
            with contextlib.suppress(OSError):
                broker.shutdown(socket.SHUT_RDWR)

    def forward(self, client, broker):
        with contextlib.suppress(OSError), client, broker:
            while True:
                if client in (select.select([client, broker], [], [])[0] if not client.pending() else [client]):
                    piece = client.recv(65536)
                    if not piece:
                        return
                    broker.sendall(piece)
                    continue
                time.sleep(0.3)
                piece = broker.recv(16000)
                if not piece:
                    return
                self.joined = max(self.joined, len(piece))
                client.sendall(piece)


def test_answers_over_tls_are_read_at_once(broker, tmp_path):
    """Not at the next sign of life, an hour away here: several in one record, of which TLS wakes nobody for the second; and those of a new connection."""
    front = Joining(broker.port, tmp_path / "front")
    p = project(tmp_path / "p", front.port, "joined", f", tls = true, ca_file = '{tmp_path}/front/ca.pem', keepalive = INTERVAL '1' HOUR", "localhost")
    p.once()
    with p:
        for n in range(3):
            time.sleep(1)  # all is quiet
            if n == 2:
                front.reset()
            broker.publish("alarms/x", payloads("j", range(10 * n, 10 * n + 10)))
            servers.wait_for("the messages", lambda: len(once(p)) == 10 * n + 10, 20)
    assert front.joined > 100
    front.listener.close()
