CREATE SOURCE orders (id BIGINT, k INTEGER, at TIMESTAMP) WITH (connector = 'file', path = 'o.ndjson');
CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR) WITH (connector = 'file', path = 't.csv', refresh = INTERVAL '1' HOUR);
CREATE VIEW no_time AS SELECT o.id FROM orders o JOIN things FOR SYSTEM_TIME AS OF o.k t ON o.k = t.k;
CREATE VIEW no_column AS
SELECT o.id FROM orders o
JOIN things FOR SYSTEM_TIME AS OF o.att t ON o.k = t.k;
CREATE VIEW in_the_condition AS
SELECT o.id FROM orders o
JOIN things FOR SYSTEM_TIME AS OF o.at t ON o.k = t.kk
WHERE o.idd > 0;
CREATE VIEW behind_it AS
SELECT o.id FROM orders o
JOIN things FOR SYSTEM_TIME AS OF o.at t ON o.k = t.k
WHERE o.idd > 0;
