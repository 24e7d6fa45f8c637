SET time_zone = 'Europe/Berlni';
CREATE SOURCE events (id BIGINT, kind VARCHAR, amount DECIMAL(18,2), happened TIMESTAMP, WATERMARK FOR happened AS happened)
WITH (connector = 'file', path = 'e.json');
CREATE VIEW v1 AS SELECT idd FROM events;
CREATE VIEW reads_v1 AS SELECT nope FROM v1;
CREATE VIEW v2 AS
  SELECT id, 'äöü 日本語' AS text,
    upperr(kind) AS k
  FROM events;
CREATE VIEW v3 AS SELECT kind + 1 AS x FROM events;
CREATE VIEW v4 AS SELECT id, ID FROM events;
CREATE VIEW v5 AS SELECT window_start, sum(amont) AS s FROM TUMBLE(events, happened, INTERVAL '1' MINUTE) GROUP BY ALL;
CREATE VIEW v6 AS SELECT id FROM events e JOIN events f USING (kid);
CREATE VIEW v7 AS SELECT id, max(kind) AS k
  FROM events;
CREATE VIEW v8 AS SELECT e.kinds FROM events e;
CREATE VIEW v9 AS SELECT x.id FROM events e;
CREATE VIEW v10 AS SELECT id FROM events ORDER BY;
CREATE VIEW v11 AS SELECT id FROM events WHRE id > 1 AND kind = 'x';
CREATE VIEW v12 AS SELECT id::BIGNT AS i FROM events;
CREATE VIEW v13 AS SELECT window_star FROM TUMBLE(nested, happened, INTERVAL '1' MINUTE);
CREATE VIEW nested AS SELECT {'a': id} AS s, [kind] AS l, happened FROM events;
CREATE VIEW v14 AS SELECT s.a, l[1] AS first, s.b FROM nested;
CREATE VIEW v15 AS SELECT id FROM events UNION SELECT id, kind FROM events;
CREATE VIEW v16 AS SELECT read_text('/etc/passwd') AS a;
CREATE VIEW v17 AS SELECT * FROM TUMBLE(v_good, happend, INTERVAL '1' MINUTE);
CREATE VIEW v_good AS SELECT * FROM events;
CREATE MATERIALIZED TABLE t1 (PRIMARY KEY (id, knd)) FRESHNESS = INTERVAL '1' SECOND
  CONSTRAINT c1 EXPECT (amount > 0 AND
      knd = 'x') ON VIOLATION DROP ROW
  CONSTRAINT c2 EXPECT (amount + 1) ON VIOLATION DROP ROW
  CONSTRAINT c3 EXPECT (amount > 0 -- a comment at the end
  ) ON VIOLATION DROP ROW
  CONSTRAINT c4 EXPECT (amount >) ON VIOLATION DROP ROW
  CONSTRAINT c5 EXPECT (amount > 0, id > 0) ON VIOLATION DROP ROW
AS SELECT id, kind, amount FROM events;
CREATE MATERIALIZED TABLE reads_t1 FRESHNESS = INTERVAL '1' SECOND AS SELECT nope FROM t1;
CREATE MATERIALIZED TABLE t2 SCHEDULE CRON '@daily' AT TIME ZONE 'Berlin' AS SELECT nope FROM v_good;
CREATE SOURCE numbered (id BIGINT) INCLUDE offset WITH (connector = 'file', path = 'n.json');
CREATE VIEW v18 AS SELECT id, n.offset, offset FROM numbered n;
