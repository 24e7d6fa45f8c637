CREATE SOURCE events (id BIGINT NOT NULL, card VARCHAR, at_time TIMESTAMP NOT NULL, WATERMARK FOR at_time AS at_time)
WITH (connector = 'file', path = 'in/*.jsonl');
CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events;
CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '1' SECOND AS SELECT card, count(*) AS n FROM events GROUP BY card;
CREATE SINK good FROM raw WITH (connector = 'file', path = 'out.ndjson');
CREATE SINK no_connector FROM raw WITH (path = 'out.ndjson');
CREATE SINK misspelt FROM raw WITH (connector = 'fiel', path = 'out.ndjson');
CREATE SINK no_path FROM raw WITH (connector = 'file');
CREATE SINK odd_options FROM raw WITH (connector = 'file', path = 'a', path = 'b', pth = 'c', start = 'later', max_tries = 0, spool_limit = '1 KiB');
CREATE SINK of_a_source FROM events WITH (connector = 'file', path = 'out.ndjson');
CREATE SINK of_nothing FROM row WITH (connector = 'file', path = 'out.ndjson');
CREATE SINK good FROM raw WITH (connector = 'file', path = 'out.ndjson');
CREATE SINK cards FROM raw WITH (connector = 'file', path = 'out.ndjson');
CREATE SINK no_options FROM raw;
CREATE SINK behind FROM raw WITH (connector = 'file', path = 'a') EMIT;
