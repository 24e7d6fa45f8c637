CREATE SOURCE marked (id BIGINT PRIMARY KEY, deleted_at TIMESTAMP, at TIMESTAMP)
WITH (connector = 'postgres', dsn = 'x', 'table' = 'o', cursor = 'at', delete_when = 'deleted_at IS NOT NULL -- by hand');
CREATE SOURCE misspelt (id BIGINT PRIMARY KEY, op VARCHAR)
WITH (connector = 'kafka', topic = 't', 'properties.bootstrap.servers' = 'b:1', format = 'upsert-json',
      delete_when = 'opp = ''D''');
CREATE SOURCE cut (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'op =');
CREATE SOURCE two (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'op = ''D'')');
CREATE SOURCE no_condition (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'op');
CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM marked;
