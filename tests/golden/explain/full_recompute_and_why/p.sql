CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE MATERIALIZED TABLE a FRESHNESS = INTERVAL '5' SECOND AS SELECT order_id FROM orders ORDER BY amount LIMIT 30%;
CREATE MATERIALIZED TABLE b FRESHNESS = INTERVAL '5' SECOND AS SELECT median(amount) AS m FROM orders;
CREATE MATERIALIZED TABLE c FRESHNESS = INTERVAL '5' SECOND AS SELECT order_id FROM orders WHERE event_time > now()::TIMESTAMP - INTERVAL 1 DAY;
CREATE MATERIALIZED TABLE d FRESHNESS = INTERVAL '5' SECOND AS SELECT order_id, row_number() OVER (ORDER BY amount) AS n FROM orders;
CREATE MATERIALIZED TABLE e FRESHNESS = INTERVAL '5' SECOND AS SELECT DISTINCT customer_id, l[1] AS first FROM (SELECT customer_id, list(status) AS l FROM orders GROUP BY customer_id) WHERE l IN (SELECT list(status) FROM orders GROUP BY order_id);
CREATE MATERIALIZED TABLE f FRESHNESS = INTERVAL '5' SECOND AS SELECT status, quantity, median(amount) AS n FROM orders GROUP BY CUBE (status, quantity);
CREATE MATERIALIZED TABLE g FRESHNESS = INTERVAL '5' SECOND AS SELECT order_id FROM orders WHERE product_id NOT IN (SELECT quantity FROM orders);
CREATE MATERIALIZED TABLE h FRESHNESS = INTERVAL '5' SECOND REFRESH_MODE = FULL AS SELECT order_id FROM orders;
CREATE MATERIALIZED TABLE i FRESHNESS = INTERVAL '5' SECOND AS SELECT a.order_id FROM orders a LEFT JOIN orders b ON a.amount < b.amount;
CREATE MATERIALIZED TABLE j FRESHNESS = INTERVAL '5' SECOND AS WITH RECURSIVE t(n) AS (SELECT order_id FROM orders UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t;
CREATE MATERIALIZED TABLE k FRESHNESS = INTERVAL '5' SECOND AS SELECT a.order_id FROM orders a JOIN orders b ON a.order_id = b.order_id OR a.amount = b.amount;
