/* The Flink side of `bench.py --only flink`: one job in one process, its task manager and job manager beside each other.
 * Usage: KafkaJob PARALLELISM SQL [CASSANDRA INSERT] -- OPTION=VALUE...
 *   SQL        a file of statements, each ended by a line that is ';'; the last is an INSERT, or with CASSANDRA a SELECT whose first column is its key
 *   CASSANDRA  host:port; each change of the query becomes one execution of INSERT, whose parameters are the query's columns
 * Says "running" when it is. Ends when it is killed. */
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.types.Row;

public class KafkaJob {
    /* What Flink's own Cassandra connector (for Flink 1 only) does: prepared, asynchronous, so many requests on the way, all confirmed before a checkpoint. */
    static class CassandraSink implements Sink<Row> {
        final String address, insert;

        CassandraSink(String address, String insert) {
            this.address = address;
            this.insert = insert;
        }

        @Override
        public SinkWriter<Row> createWriter(WriterInitContext context) {
            return new CassandraWriter(address, insert);
        }
    }

    static class CassandraWriter implements SinkWriter<Row> {
        static final int ON_THE_WAY = 512;
        final Semaphore room = new Semaphore(ON_THE_WAY);
        final AtomicReference<Throwable> failure = new AtomicReference<>();
        final CqlSession session;
        final PreparedStatement insert;

        CassandraWriter(String address, String insert) {
            String[] place = address.split(":");
            session = CqlSession.builder()
                          .addContactPoint(new InetSocketAddress(place[0], Integer.parseInt(place[1])))
                          .withLocalDatacenter("datacenter1")
                          .withConfigLoader(DriverConfigLoader.programmaticBuilder()
                                                .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(30))
                                                .build())
                          .build();
            this.insert = session.prepare(insert);
        }

        @Override
        public void write(Row row, Context context) throws IOException, InterruptedException {
            Object[] values = new Object[row.getArity()];
            for (int i = 0; i < values.length; i++)
                values[i] = row.getField(i);
            room.acquire();
            session.executeAsync(insert.bind(values)).whenComplete((done, problem) -> {
                if (problem != null) failure.compareAndSet(null, problem);
                room.release();
            });
            if (failure.get() != null) throw new IOException(failure.get());
        }

        @Override
        public void flush(boolean endOfInput) throws IOException, InterruptedException {
            room.acquire(ON_THE_WAY);
            room.release(ON_THE_WAY);
            if (failure.get() != null) throw new IOException(failure.get());
        }

        @Override
        public void close() {
            session.close();
        }
    }

    public static void main(String[] args) throws Exception {
        Configuration options = new Configuration();
        int end = 0;
        while (!args[end].equals("--"))
            end++;
        for (int i = end + 1; i < args.length; i++)
            options.setString(args[i].substring(0, args[i].indexOf('=')), args[i].substring(args[i].indexOf('=') + 1));
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(args[0]), options);
        StreamTableEnvironment tables = StreamTableEnvironment.create(env);
        String[] statements = Files.readString(Path.of(args[1])).split("\n;\n");
        for (int i = 0; i + 1 < statements.length; i++)
            tables.executeSql(statements[i]);
        String last = statements[statements.length - 1];
        JobClient job;
        if (end == 2) {
            job = tables.executeSql(last).getJobClient().get();
        } else {
            tables.toChangelogStream(tables.sqlQuery(last), Schema.newBuilder().primaryKey(tables.sqlQuery(last).getResolvedSchema().getColumnNames().get(0)).build(),
                                     ChangelogMode.upsert())
                .sinkTo(new CassandraSink(args[2], args[3]));
            job = env.executeAsync();
        }
        while (job.getJobStatus().get() != JobStatus.RUNNING)
            Thread.sleep(50);
        System.out.println("running");
        job.getJobExecutionResult().get();
    }
}
