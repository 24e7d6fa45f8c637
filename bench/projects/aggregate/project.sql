-- From JSON through de-duplication and the catalogue to revenue per minute.
CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, product_id INTEGER, amount DECIMAL(18,2), event_time TIMESTAMP NOT NULL
)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'in/products.csv', format = 'csv');

CREATE VIEW orders AS
  SELECT e.*, p.category
  FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE revenue_by_minute
FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, category, count(*) AS orders, sum(amount) AS revenue
   FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;
