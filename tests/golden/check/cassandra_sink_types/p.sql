CREATE SOURCE events (id BIGINT NOT NULL, took INTERVAL, big UHUGEINT) WITH (connector = 'file', path = 'in/*.jsonl');
CREATE MATERIALIZED TABLE keyless FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events;
CREATE MATERIALIZED TABLE odd (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, max(took) AS took, max(big) AS big FROM events GROUP BY id;
CREATE SINK a FROM keyless WITH (connector = 'cassandra', contact_points = 'localhost', keyspace = 'k', 'table' = 't');
CREATE SINK b FROM odd WITH (connector = 'cassandra', contact_points = 'localhost', keyspace = 'k', 'table' = 't');
