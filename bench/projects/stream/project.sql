-- Order status, revenue by minute and silver orders at one second.
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

CREATE MATERIALIZED TABLE silver_orders
FRESHNESS = INTERVAL '1' SECOND
AS SELECT e.*, p.category
   FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE revenue_by_minute
FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM TUMBLE(silver_orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;
