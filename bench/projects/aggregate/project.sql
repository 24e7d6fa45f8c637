-- From JSON through de-duplication and the catalogue to revenue per minute.
CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, product_id INTEGER, amount DECIMAL(18,2), event_time TIMESTAMP NOT NULL
)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'in/products.csv', format = 'csv');

CREATE MATERIALIZED TABLE revenue_by_minute
FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM (SELECT t.*, p.category FROM TUMBLE(order_events, event_time, INTERVAL '1' MINUTE) t
         JOIN products p USING (product_id))
   GROUP BY ALL;
