CREATE SOURCE events (id BIGINT NOT NULL, took INTERVAL, big UHUGEINT) WITH (connector = 'file', path = 'in/*.jsonl');
CREATE MATERIALIZED TABLE odd (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, max(took) AS took, max(big) AS big FROM events GROUP BY id;
CREATE SINK b FROM odd WITH (connector = 'cassandra', contact_points = 'localhost', keyspace = 'k', 'table' = 't', consistency = 'most', pasword = 'x');
CREATE SINK c FROM odd WITH (connector = 'cassandra', contact_points = 'localhost', in_flight = 0);
