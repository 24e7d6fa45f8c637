CREATE SOURCE events (id BIGINT NOT NULL, kind VARCHAR, amount DECIMAL(18,2), at TIMESTAMP NOT NULL,
  WATERMARK FOR at AS at - INTERVAL '2' MINUTE)
WITH (connector = 'file', path = 'in/*.jsonl');
CREATE VIEW v1 AS SELECT ';' AS a /* ; /* nested */ ; */ FROM events; -- ;
CREATE VIEW v2 AS SELECT $$;$$ AS a, $q$ it's $q$ AS b, E'\'; ' AS c FROM events
CREATE VIEW v3 AS SELECT * FROM events;
CREATE VIEW v4 AS SELECT 'never closed FROM events;
CREATE VIEW v5 AS SELECT * FROM "events;
CREATE VIEW v6 AS SELECT * FROM evnts;
CREATE VIEW v7 AS SELECT 'over
lines' AS a, b' AS b FROM events;
