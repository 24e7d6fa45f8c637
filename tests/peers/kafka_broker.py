"""A real Kafka broker (KRaft, one node, loopback, free ports) from the jars that scripts/bootstrap --peers gets."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from servers import free_port
from tcp_proxy import Proxy

JARS = pathlib.Path(__file__).resolve().parents[2] / ".deps/kafka"
JAVA = ["java", "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*"]


class Broker:
    """start, stop, kill; its data stays between them."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="leat-kafka-"))
        self.port, controller, sasl = free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        inner = free_port()
        self.proxy = Proxy(inner)  # a listener of the broker that is reached through it
        self.sasl_address = f"127.0.0.1:{sasl}"  # user leat, password s3cret
        self.process = None
        (self.folder / "server.properties").write_text(f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{self.address},SASL://{self.sasl_address},PROXIED://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{self.address},SASL://{self.sasl_address},PROXIED://{self.proxy.address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_leat="s3cret";
inter.broker.listener.name=PLAINTEXT
log.dirs={self.folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=2097152
num.network.threads=1
num.io.threads=2
""")
        subprocess.run(JAVA + ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c",
                               str(self.folder / "server.properties")], check=True, capture_output=True)
        self.start()

    def start(self):
        log = open(self.folder / "broker.log", "ab")
        self.process = subprocess.Popen(JAVA + ["kafka.Kafka", str(self.folder / "server.properties")], stdout=log,
                                        stderr=log)
        for _ in range(300):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 1)):
                return
            time.sleep(0.2)
        raise RuntimeError(f"the broker does not start: {(self.folder / 'broker.log').read_text()}")

    def kill(self):
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def remove(self):
        self.stop()
        self.proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def broker():
    if not JARS.is_dir() or not shutil.which("java"):
        pytest.skip("Kafka's jars or Java are missing: scripts/bootstrap --peers gets them")
    one = Broker()
    yield one
    one.remove()
