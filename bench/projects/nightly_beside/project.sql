-- Order status at a second.
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
