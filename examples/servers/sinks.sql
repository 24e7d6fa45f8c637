-- The status of every order, row by row in Cassandra (for whoever asks by order) and in PostgreSQL (for whoever joins); alerts to the fraud desk.

CREATE SINK status_cassandra FROM order_status
WITH (connector = 'cassandra', contact_points = '${CASSANDRA}', keyspace = 'shop', 'table' = 'order_status', create = true, retry_max = INTERVAL '5' SECOND);

CREATE SINK status_postgres FROM order_status
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', 'table' = 'live_order_status', retry_max = INTERVAL '5' SECOND);

CREATE SINK fraud_desk FROM fraud_alerts
WITH (connector = 'webhook', url = '${FRAUD_URL}', secret = '${FRAUD_SECRET}', allow_private = true, start = 'snapshot', retry_max = INTERVAL '5' SECOND);
