CREATE SOURCE events (id BIGINT NOT NULL, card VARCHAR, at_time TIMESTAMP NOT NULL, WATERMARK FOR at_time AS at_time)
WITH (connector = 'file', path = 'in/*.jsonl');
CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events;
CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '1' SECOND AS SELECT card, count(*) AS n FROM events GROUP BY card;
CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, count(*) AS n FROM TUMBLE(events, at_time, INTERVAL '1' MINUTE) GROUP BY window_start;
CREATE SINK appended FROM raw WITH (connector = 'file', path = 'a');
CREATE SINK final FROM minutes WITH (connector = 'file', path = 'b');
CREATE SINK said FROM cards WITH (connector = 'file', path = 'c', on_retract = 'ignore');
CREATE SINK unsaid FROM cards WITH (connector = 'file', path = 'd');
