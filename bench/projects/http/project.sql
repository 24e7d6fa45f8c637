-- Spend by card, readable 100 ms after it was posted.
CREATE SOURCE events (event_id VARCHAR NOT NULL, card VARCHAR, amount DECIMAL(18,2), ts TIMESTAMP NOT NULL, note VARCHAR, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH (connector = 'http', format = 'json');
CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT card, count(*) AS n, sum(amount) AS total, max(ts) AS last FROM events GROUP BY card;
