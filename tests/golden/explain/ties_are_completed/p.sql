CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE MATERIALIZED TABLE latest FRESHNESS = INTERVAL '5' SECOND
AS SELECT DISTINCT ON (order_id) order_id, status FROM orders ORDER BY order_id, event_time DESC;
CREATE MATERIALIZED TABLE top3 FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id, customer_id, amount FROM orders
   QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY amount DESC) <= 3;
CREATE MATERIALIZED TABLE first_of_each FRESHNESS = INTERVAL '5' SECOND
AS SELECT event_id, amount, row_number() OVER (PARTITION BY event_id ORDER BY event_time) AS rn FROM orders QUALIFY rn = 1;
CREATE MATERIALIZED TABLE lists FRESHNESS = INTERVAL '5' SECOND
AS SELECT customer_id, string_agg(status, ',' ORDER BY event_time) AS s, mode(status) AS m, any_value(status) AS a,
     len(list(DISTINCT quantity)) AS l, last(price ORDER BY event_time) AS p FROM orders GROUP BY customer_id;
CREATE MATERIALIZED TABLE neighbours FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id, lag(status) OVER w AS before, last_value(status) OVER w AS l, sum(amount) OVER (w ROWS 2 PRECEDING) AS s,
     rank() OVER w AS r FROM orders WINDOW w AS (PARTITION BY order_id ORDER BY event_time);
CREATE MATERIALIZED TABLE ten SCHEDULE CRON '0 2 * * *' AS SELECT order_id, amount FROM orders ORDER BY amount DESC LIMIT 10;
