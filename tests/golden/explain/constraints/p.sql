CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER,
  quantity INTEGER, amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE)
INCLUDE offset, partition WITH (connector = 'file', path = 'orders/*.json', format = 'json');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);

CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)
WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');

CREATE MATERIALIZED TABLE checked (CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION DROP ROW,
  CONSTRAINT known EXPECT (status IN ('a', 'b')) ON VIOLATION DROP ROW) FRESHNESS = INTERVAL '5' SECOND
AS SELECT order_id, amount, status FROM orders ORDER BY 1 -- the order is dropped
;
CREATE MATERIALIZED TABLE sorted (CONSTRAINT positive EXPECT (n > 0) ON VIOLATION FAIL UPDATE,
  CONSTRAINT few EXPECT (n < 100) ON VIOLATION QUARANTINE, CONSTRAINT known EXPECT (status IS NOT NULL) ON VIOLATION DROP ROW)
FRESHNESS = INTERVAL '5' SECOND AS SELECT status, count(*) AS n FROM orders GROUP BY status;
CREATE MATERIALIZED TABLE clash (CONSTRAINT few EXPECT (_constraint < 100) ON VIOLATION QUARANTINE)
FRESHNESS = INTERVAL '5' SECOND AS SELECT quantity AS _constraint FROM orders;
