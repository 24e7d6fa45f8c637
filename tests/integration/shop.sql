-- The project of the crash and integration tests: every incremental class, disorder, lateness, a reference that changes.
CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER, quantity INTEGER,
  amount DECIMAL(18,2), status VARCHAR, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '1' MINUTE
)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' SECOND);

CREATE VIEW clean_orders AS
  SELECT e.*, p.category
  FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e
  JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at
   FROM order_events GROUP BY order_id;

CREATE MATERIALIZED TABLE silver_orders
FRESHNESS = INTERVAL '1' SECOND
AS SELECT * FROM clean_orders;

CREATE MATERIALIZED TABLE revenue_by_minute
FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM TUMBLE(clean_orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;

CREATE MATERIALIZED TABLE category_day
FRESHNESS = INTERVAL '2' SECOND
AS SELECT CAST(event_time AS DATE) AS day, category, count(DISTINCT customer_id) AS customers, avg(quantity) AS quantity,
          min(amount) AS smallest, max(amount) AS largest
   FROM silver_orders GROUP BY ALL;

CREATE MATERIALIZED TABLE top_customers
FRESHNESS = INTERVAL '1' SECOND
AS SELECT category, customer_id, spent FROM (
     SELECT category, customer_id, sum(amount) AS spent FROM silver_orders WHERE status = 'paid' GROUP BY ALL)
   QUALIFY row_number() OVER (PARTITION BY category ORDER BY spent DESC, customer_id) <= 3;

CREATE MATERIALIZED TABLE daily_revenue
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'
AS SELECT CAST(event_time AS DATE) AS day, sum(amount) AS revenue FROM clean_orders GROUP BY ALL;
