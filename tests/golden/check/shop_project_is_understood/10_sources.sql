-- Everything that the language has, in one project that holds together.
SET time_zone = 'Europe/Berlin';
SET max_future = INTERVAL '12' HOUR;
SET commit_interval TO '2 seconds';
SET memory_limit = '2GB';
SET threads = 2;

CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT,
  product_id INTEGER, quantity INTEGER, amount DECIMAL(18,2), status VARCHAR FROM 'order status',
  event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2 minutes'
) INCLUDE offset, partition AS part, timestamp AS arrived_at
WITH (connector = 'file', path = 'in/orders-*.jsonl.gz', format = 'json', max_line_bytes = '64 KiB', mode = 'once');

CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'file', path = '${LEAT_TEST_PATH}', format = 'csv', delimiter = ';', "header" = true, refresh = INTERVAL '1' HOUR);

CREATE SOURCE rates (currency VARCHAR, day DATE, rate DOUBLE, PRIMARY KEY (currency, day))
WITH (connector = 'file', path = 'rates.parquet');

CREATE SOURCE clicks (who VARCHAR, "when" TIMESTAMP WITH TIME ZONE, WATERMARK FOR "when" AS "when")
FORMAT PLAIN ENCODE CSV
WITH (path = 'clicks.tsv', connector = file, null_string = 'NA')
