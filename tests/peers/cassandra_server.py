"""A real Cassandra (one node, loopback, free ports, a small heap) from the jars that scripts/bootstrap --peers gets."""
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from servers import accepts, free_port

JARS = pathlib.Path(__file__).resolve().parents[2] / ".deps/cassandra"
# What conf/jvm17-server.options of Cassandra 5.0 opens to it.
EXPORTS = ["java.base/jdk.internal.misc", "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry",
           "java.rmi/sun.rmi.server", "java.sql/java.sql", "java.base/java.lang.ref", "jdk.unsupported/sun.misc"]
OPENS = ["java.base/" + package for package in
         ("java.lang.module", "jdk.internal.loader", "jdk.internal.ref", "jdk.internal.reflect", "jdk.internal.math",
          "jdk.internal.module", "jdk.internal.util.jar", "sun.nio.ch", "java.io", "java.lang.reflect", "java.lang", "java.util",
          "java.nio")] + ["jdk.management/com.sun.management.internal"]
JAVA = ["java", "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true", "-Dcassandra-foreground=yes", "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=0"]
JAVA += [f"--add-exports={p}=ALL-UNNAMED" for p in EXPORTS] + [f"--add-opens={p}=ALL-UNNAMED" for p in OPENS]
LOGBACK = """<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%date %-5level %logger{0} %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="OUT"/></root></configuration>"""


class Cassandra:
    """start, stop, kill; its data stays between them. commitlog: 'batch' syncs before it says yes, 'periodic' is the usual."""

    def __init__(self, commitlog="batch", password=False, tls=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="leat-cassandra-"))
        self.port, storage = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        (self.folder / "logback.xml").write_text(LOGBACK)
        data = self.folder / "data"
        config = f"""cluster_name: leat
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {storage}
native_transport_port: {self.port}
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc
commitlog_sync: {commitlog}
{"commitlog_sync_period: 10000ms" if commitlog == "periodic" else ""}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage}"}}]
"""
        if password:
            config += "authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\n"
        if tls:  # (private key and chain, authorities) as PEM texts
            key, authorities = (text.strip().replace("\n", "\n        ") for text in tls)
            config += f"""client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
    parameters:
      private_key: |
        {key}
      trusted_certificates: |
        {authorities}
"""
        (self.folder / "cassandra.yaml").write_text(config)
        self.start()

    def start(self):
        log = open(self.folder / "log", "ab")
        at = log.tell()
        command = JAVA + [f"-Dcassandra.config=file://{self.folder}/cassandra.yaml",
                          f"-Dlogback.configurationFile={self.folder}/logback.xml", f"-Dcassandra.storagedir={self.folder}/data",
                          f"-Djava.io.tmpdir={self.folder}", "-cp", f"{JARS}/*", "org.apache.cassandra.service.CassandraDaemon"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with open(self.folder / "log") as text:
                text.seek(at)
                if "Starting listening for CQL clients" in text.read() and accepts(self.port):  # it is said before it is done
                    return
            time.sleep(0.2)
        raise RuntimeError(f"Cassandra does not start: {(self.folder / 'log').read_text()[-5000:]}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, **options):
        """A session of the Python driver."""
        from cassandra.cluster import Cluster, ExecutionProfile, EXEC_PROFILE_DEFAULT
        from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60)
        cluster = Cluster(["127.0.0.1"], port=self.port, protocol_version=4, connect_timeout=30,
                          reconnection_policy=ConstantReconnectionPolicy(0.5, None),
                          execution_profiles={EXEC_PROFILE_DEFAULT: profile}, **options)
        return cluster.connect()


def missing():
    """Why there is no Cassandra here, or None."""
    if not shutil.which("java"):
        return "no java"
    if not (JARS / "cassandra-all-5.0.5.jar").exists():
        return "no jars of Cassandra: scripts/bootstrap --peers"
    return None


@pytest.fixture(scope="session")
def cassandra_server():
    if missing():
        pytest.skip(missing())
    pytest.importorskip("cassandra")
    server = Cassandra()
    yield server
    server.stop()
