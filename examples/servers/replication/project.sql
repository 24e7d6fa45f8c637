-- Without Kafka: the shop's own database, followed by logical replication. Its tables are the truth; leat keeps what is asked of them.

CREATE SOURCE orders (
  order_id BIGINT, customer_id BIGINT, product_id INTEGER, quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, updated_at TIMESTAMP,
  PRIMARY KEY (order_id)
)
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', 'table' = 'orders', slot = 'leat_orders');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, name VARCHAR, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', 'table' = 'products', refresh = INTERVAL '10' SECOND);

CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, status, updated_at FROM orders;

CREATE MATERIALIZED TABLE revenue_by_category (PRIMARY KEY (category))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT category, count(*) AS orders, sum(amount) AS revenue FROM orders JOIN products USING (product_id) GROUP BY category;

-- A large order, not cancelled: the fraud desk looks at it, and is told when it is cancelled.
CREATE MATERIALIZED TABLE fraud_alerts (PRIMARY KEY (order_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, customer_id, amount FROM orders WHERE amount >= 5000 AND status <> 'cancelled';
