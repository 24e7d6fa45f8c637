-- Events of 1 KB: durable at once, archived every second, counted by card.
SET bronze_interval = INTERVAL '1' SECOND;
CREATE SOURCE events (event_id VARCHAR NOT NULL, card VARCHAR, amount DECIMAL(18,2), ts TIMESTAMP NOT NULL, note VARCHAR, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH (connector = 'http');
CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '1' SECOND
AS SELECT card, count(*) AS n, sum(amount) AS total FROM events GROUP BY card;
