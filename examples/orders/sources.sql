-- What comes in: status changes of orders, payments, and the catalogue. `leat generate --out in` makes a day of them, with what real
-- days have: events out of order, late, twice, and broken, and fraud.

CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL,
  order_id BIGINT NOT NULL,
  customer_id BIGINT NOT NULL,
  product_id INTEGER,
  quantity INTEGER,
  amount DECIMAL(18,2),
  status VARCHAR,
  event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
) INCLUDE partition AS part, offset AS place
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json', idle_timeout = INTERVAL '1' MINUTE);

CREATE SOURCE payments (
  payment_id VARCHAR NOT NULL,
  order_id BIGINT NOT NULL,
  customer_id BIGINT NOT NULL,
  amount DECIMAL(18,2),
  method VARCHAR,
  card VARCHAR,
  country VARCHAR,
  event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
)
WITH (connector = 'file', path = 'in/payments*.ndjson', format = 'json', idle_timeout = INTERVAL '1' MINUTE);

-- The catalogue as it is, and as it was: a product has one row for each time that its price or category may have changed.
CREATE SOURCE products (product_id INTEGER PRIMARY KEY, name VARCHAR, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '10' SECOND);

CREATE SOURCE product_versions (
  product_id INTEGER, category VARCHAR, price DECIMAL(18,2), valid_from TIMESTAMP, PRIMARY KEY (product_id, valid_from)
)
WITH (connector = 'file', path = 'in/products_v*.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE VIEW product_periods AS
  SELECT product_id, category, price, valid_from,
         coalesce(lead(valid_from) OVER (PARTITION BY product_id ORDER BY valid_from), TIMESTAMP '9999-12-31') AS valid_to
  FROM product_versions;

-- The same event may come twice, rarely even with another amount: the first to arrive counts.
CREATE VIEW events AS
  SELECT DISTINCT ON (event_id) * FROM order_events ORDER BY event_id, part, place;
CREATE VIEW placed AS
  SELECT DISTINCT ON (order_id) * FROM order_events WHERE status = 'placed' ORDER BY order_id, part, place;
