"""The batch that a team would write: DuckDB alone, one thread, the same files, the same tables, the same Parquet.

Usage: peer_batch.py EVENTS.ndjson PRODUCTS.csv OUT
"""
import sys
import duckdb

events, products, out = sys.argv[1:4]
COLUMNS = ("{event_id:'VARCHAR',order_id:'BIGINT',customer_id:'BIGINT',product_id:'INTEGER',quantity:'INTEGER',"
           "amount:'DECIMAL(18,2)',status:'VARCHAR',event_time:'TIMESTAMP'}")
PARQUET = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION V2, DICTIONARY_SIZE_LIMIT 4096)"
db = duckdb.connect()
db.execute("SET threads = 1; SET preserve_insertion_order = false; SET enable_progress_bar = false")
db.execute(f"CREATE TABLE bronze AS FROM read_json('{events}', format='newline_delimited', columns={COLUMNS}, ignore_errors=true)")
db.execute("DELETE FROM bronze WHERE event_id IS NULL OR order_id IS NULL OR event_time IS NULL")
db.execute(f"COPY bronze TO '{out}/bronze.parquet' {PARQUET}")
db.execute(f"""CREATE TABLE products AS SELECT product_id::INTEGER AS product_id, category, price::DECIMAL(18,2) AS price
    FROM read_csv('{products}', header=true)""")
db.execute("""CREATE TABLE silver AS SELECT e.*, p.category FROM (
    SELECT * FROM bronze WHERE amount >= 0 QUALIFY row_number() OVER (  -- DISTINCT ON with an order takes several times as much
        PARTITION BY event_id ORDER BY order_id, customer_id, product_id, quantity, amount, status, event_time) = 1) e
    JOIN products p USING (product_id)""")
db.execute(f"COPY silver TO '{out}/silver_orders.parquet' {PARQUET}")
db.execute(f"""COPY (SELECT time_bucket(INTERVAL '1 minute', event_time, TIMESTAMP '1970-01-01') AS window_start, category,
    count(*) AS orders, sum(amount) AS revenue FROM silver GROUP BY ALL) TO '{out}/revenue_by_minute.parquet' {PARQUET}""")
db.execute(f"""COPY (SELECT order_id, first(status ORDER BY event_time DESC, status) AS status, max(event_time) AS updated_at
    FROM bronze GROUP BY order_id) TO '{out}/order_status.parquet' {PARQUET}""")
