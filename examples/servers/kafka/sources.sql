-- Orders and payments from Kafka, the catalogue from PostgreSQL.

CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT NOT NULL, product_id INTEGER, quantity INTEGER, amount DECIMAL(18,2),
  status VARCHAR, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
) INCLUDE partition AS part, offset AS place
WITH (connector = 'kafka', topic = 'order_events', 'properties.bootstrap.servers' = '${KAFKA}', idle_timeout = INTERVAL '1' MINUTE);

CREATE SOURCE payments (
  payment_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT NOT NULL, amount DECIMAL(18,2), method VARCHAR, card VARCHAR, country VARCHAR,
  event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
)
WITH (connector = 'kafka', topic = 'payments', 'properties.bootstrap.servers' = '${KAFKA}', idle_timeout = INTERVAL '1' MINUTE);

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, name VARCHAR, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', 'table' = 'products', refresh = INTERVAL '10' SECOND);

-- The same event may come twice, rarely even with another amount: the first to arrive counts.
CREATE VIEW placed AS
  SELECT DISTINCT ON (order_id) * FROM order_events WHERE status = 'placed' ORDER BY order_id, part, place;

CREATE MATERIALIZED TABLE revenue_by_category (PRIMARY KEY (category))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT category, count(*) AS orders, sum(amount) AS revenue FROM placed JOIN products USING (product_id) GROUP BY category;
