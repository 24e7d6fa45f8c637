CREATE SOURCE orders (id BIGINT, k INTEGER, n INTEGER, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at) WITH (connector = 'file', path = 'o.ndjson');
CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price DECIMAL(18,2)) WITH (connector = 'file', path = 't.csv', refresh = INTERVAL '1' HOUR);
CREATE SOURCE fixed (k INTEGER PRIMARY KEY, cat VARCHAR) WITH (connector = 'file', path = 'f.csv');
CREATE MATERIALIZED TABLE priced FRESHNESS = INTERVAL '1' SECOND
AS SELECT o.id, t.cat, o.n * t.price AS amount FROM orders o JOIN things FOR SYSTEM_TIME AS OF o.at t ON o.k = t.k;
CREATE MATERIALIZED TABLE perhaps FRESHNESS = INTERVAL '1' SECOND
AS SELECT o.id, t.cat FROM orders o LEFT JOIN things FOR SYSTEM_TIME AS OF o.at t ON o.k = t.k AND t.price > 1;
CREATE MATERIALIZED TABLE of_one_version FRESHNESS = INTERVAL '1' SECOND
AS SELECT o.id, f.cat FROM orders o JOIN fixed FOR SYSTEM_TIME AS OF o.at f ON o.k = f.k;
