CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, s VARCHAR, v BIGINT, d DECIMAL(10,2), f DOUBLE, b BOOLEAN, w DECIMAL(38,2), ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '119' SECOND)
WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');
CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price DECIMAL(10,2))
WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);
CREATE MATERIALIZED TABLE t0 (CONSTRAINT fit0 EXPECT (s <> 'a') ON VIOLATION FAIL UPDATE, CONSTRAINT fit1 EXPECT (f < 1e15) ON VIOLATION QUARANTINE)
FRESHNESS = INTERVAL '1' SECOND
AS SELECT * FROM (SELECT id, k, s, f, b FROM (SELECT DISTINCT id, k, s, f, b, ts FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '2' MINUTE)))) WHERE k > (SELECT sum(price) FROM things);
