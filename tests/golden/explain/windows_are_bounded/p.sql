CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE VIEW once AS SELECT DISTINCT ON (event_id) * FROM orders;
CREATE MATERIALIZED TABLE per_minute FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, window_end, status, count(*) AS n, sum(amount) FILTER (WHERE quantity > 1) AS s
   FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL HAVING count(*) > 1;
CREATE MATERIALIZED TABLE closed FRESHNESS = INTERVAL '5' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, count(*) AS n FROM TUMBLE(once, event_time, INTERVAL '1' HOUR) GROUP BY ALL;
CREATE MATERIALIZED TABLE named FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, c.name, avg(price) AS p FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) o
   LEFT JOIN countries c ON c.code = o.status GROUP BY ALL;
CREATE MATERIALIZED TABLE newest_first FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, count(*) AS n
   FROM (SELECT DISTINCT ON (event_id) *, leat_tumble(event_time, 60000000, 0) AS window_start FROM orders
         ORDER BY event_id, event_time DESC) GROUP BY ALL;
CREATE MATERIALIZED TABLE sliding FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, count(*) AS n FROM HOP(orders, event_time, INTERVAL '1' MINUTE, INTERVAL '5' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE visits FRESHNESS = INTERVAL '5' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, window_end, customer_id, count(*) AS n
   FROM SESSION(once, event_time, PARTITION BY customer_id, INTERVAL '30' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE nobodys FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, count(*) AS n FROM SESSION(orders, event_time, INTERVAL '30' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE starts FRESHNESS = INTERVAL '5' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, customer_id, count(*) AS n
   FROM SESSION(orders, event_time, PARTITION BY customer_id, INTERVAL '30' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE once_each FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '1' HOUR
AS SELECT DISTINCT ON (event_id, event_time) * FROM orders;

CREATE MATERIALIZED TABLE closed_days SCHEDULE CRON '0 2 * * *' FROZEN WHERE (date_trunc('month', now() - INTERVAL '5' DAY) > window_start) AS
SELECT window_start, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '1' DAY) GROUP BY window_start;
