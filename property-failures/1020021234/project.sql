CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, s VARCHAR, v BIGINT, d DECIMAL(10,2), f DOUBLE, b BOOLEAN, w DECIMAL(38,2), ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');
CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price DECIMAL(10,2))
WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);
CREATE MATERIALIZED TABLE t0 (CONSTRAINT fit0 EXPECT (k <> 2) ON VIOLATION QUARANTINE, CONSTRAINT fit1 EXPECT (window_start >= TIMESTAMP '2026-03-01 00:02:00') ON VIOLATION FAIL UPDATE)
FRESHNESS = INTERVAL '1' SECOND
AS SELECT l.id, l.k, l.s, l.v, l.d, l.f, l.b, l.w, l.ts, l.window_start, l.cat0, l.price0, t.cat AS cat1, t.price AS price1 FROM (SELECT l.id, l.k, l.s, l.v, l.d, l.f, l.b, l.w, l.ts, l.window_start, t.cat AS cat0, t.price AS price0 FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '5' MINUTE)) l  JOIN things t ON t.k = l.k) l  JOIN things t ON t.k = l.v;
