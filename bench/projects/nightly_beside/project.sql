-- Order status at a second, and a nightly table over all events: here it runs again and again, each minute.
CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER, quantity INTEGER,
  amount DECIMAL(18,2), status VARCHAR, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE
)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'in/products.csv', format = 'csv');

CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at
   FROM order_events GROUP BY order_id;

CREATE MATERIALIZED TABLE silver_orders (PRIMARY KEY (event_id))
SCHEDULE CRON '* * * * *'
AS SELECT e.event_id, e.order_id, e.customer_id, e.product_id, p.category, e.quantity, e.amount, e.status, e.event_time
   FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE gold_daily_revenue (PRIMARY KEY (day, category))
SCHEDULE CRON '* * * * *'
AS SELECT CAST(event_time AS DATE) AS day, category, count(*) AS orders, sum(quantity) AS pieces, sum(amount) AS revenue
   FROM silver_orders WHERE status = 'paid' GROUP BY ALL;
