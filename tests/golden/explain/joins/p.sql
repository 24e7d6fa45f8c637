CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE MATERIALIZED TABLE looked_up FRESHNESS = INTERVAL '5' SECOND
AS SELECT o.order_id, p.category, c.name FROM orders o LEFT JOIN products p ON p.product_id = o.product_id AND p.price > o.amount
   JOIN countries c ON c.code = o.status;
CREATE MATERIALIZED TABLE unmatched FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM products p WHERE p.product_id = o.product_id);
CREATE MATERIALIZED TABLE pairs FRESHNESS = INTERVAL '5' SECOND
AS SELECT a.order_id, b.order_id AS other FROM orders a JOIN orders b ON a.customer_id = b.customer_id AND a.amount < b.amount;
CREATE MATERIALIZED TABLE outer_joined FRESHNESS = INTERVAL '5' SECOND
AS SELECT a.order_id, b.category FROM orders a FULL JOIN products b ON a.customer_id = b.product_id;
CREATE MATERIALIZED TABLE share FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id, amount / (SELECT sum(amount) FROM orders) AS share FROM orders;
CREATE MATERIALIZED TABLE above_average FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id FROM orders o WHERE amount > (SELECT avg(amount) FROM orders i WHERE i.product_id IS NOT DISTINCT FROM o.product_id);
CREATE MATERIALIZED TABLE labelled FRESHNESS = INTERVAL '5' SECOND
AS SELECT o.order_id, v.label FROM orders o JOIN (VALUES (1, 'one'), (2, 'two')) v(id, label) ON v.id = o.quantity;
