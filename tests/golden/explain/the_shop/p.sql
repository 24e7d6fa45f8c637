CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE VIEW clean_orders AS
  SELECT e.*, p.category
  FROM (SELECT DISTINCT ON (event_id) * FROM orders WHERE amount >= 0) e
  JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id)) FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at FROM orders GROUP BY order_id;

CREATE MATERIALIZED TABLE silver_orders SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'
AS SELECT * FROM clean_orders;

CREATE MATERIALIZED TABLE revenue_by_minute FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '1' HOUR
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM TUMBLE(clean_orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;

CREATE MATERIALIZED TABLE busy_categories FRESHNESS = INTERVAL '5' SECOND
AS SELECT category, max(orders) AS orders FROM revenue_by_minute GROUP BY category;
