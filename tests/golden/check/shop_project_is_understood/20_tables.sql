CREATE VIEW clean_orders AS
  SELECT e.*, p.category
  FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e
  JOIN products p USING (product_id);

CREATE OR ALTER MATERIALIZED TABLE order_status (PRIMARY KEY (order_id), CONSTRAINT known EXPECT (status IN ('new', 'paid')) ON VIOLATION DROP ROW)
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at
   FROM order_events GROUP BY order_id;

CREATE OR REPLACE MATERIALIZED TABLE silver_orders
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin' REFRESH_MODE = FULL
CONSTRAINT paid EXPECT (amount > 0) ON VIOLATION QUARANTINE
CONSTRAINT whole EXPECT (order_id IS NOT NULL) ON VIOLATION FAIL UPDATE
AS SELECT * FROM clean_orders;

CREATE MATERIALIZED TABLE revenue_by_minute
ALLOW LATENESS INTERVAL '1' HOUR EMIT ON WINDOW CLOSE FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM TUMBLE(clean_orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;

CREATE MATERIALIZED TABLE IF NOT EXISTS hourly FRESHNESS = DOWNSTREAM REFRESH_MODE = INCREMENTAL
AS SELECT w.window_end, count(*) AS n
   FROM TUMBLE(revenue_by_minute, window_start, INTERVAL 1 HOUR, TIMESTAMP '2024-01-01 00:30:00') AS w, order_status
   GROUP BY ALL EMIT ON WINDOW CLOSE;

CREATE MATERIALIZED TABLE daily SCHEDULE CRON '@daily' AS
WITH RECURSIVE days AS (SELECT DATE '2024-01-01' AS d UNION ALL SELECT d + 1 FROM days WHERE d < DATE '2024-02-01'),
     Clicks AS (SELECT * FROM clicks) -- RECURSIVE: its own name means itself
SELECT d.d, extract(year FROM d.d) AS y, r.rate, (SELECT max(n) FROM hourly) AS peak
FROM days d LEFT JOIN (clicks c CROSS JOIN rates r) ON r.day = d.d AND c.who IS NOT DISTINCT FROM r.currency
WHERE EXISTS (FROM silver_orders s WHERE s.amount > r.rate);

CREATE VIEW today AS WITH rates AS (SELECT * FROM rates) -- the name's own definition reads the source
SELECT * FROM rates;
