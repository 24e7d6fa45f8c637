"""The retail tables by plain DuckDB over the CSV files. Usage: peer_retail.py 'LINES*.csv.gz' PRODUCTS.csv OUT"""
import sys
import duckdb

lines, products, out = sys.argv[1:4]
PARQUET = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
db = duckdb.connect()
db.execute(f"""CREATE TABLE lines AS FROM read_csv('{lines}', header=true, ignore_errors=true, columns={{InvoiceNo:'VARCHAR',
    StockCode:'VARCHAR', Description:'VARCHAR', Quantity:'INTEGER', InvoiceDate:'TIMESTAMP', UnitPrice:'DECIMAL(18,3)', CustomerID:'DOUBLE',
    Country:'VARCHAR'}})""")
db.execute(f"COPY lines TO '{out}/bronze.parquet' {PARQUET}")
db.execute(f"CREATE TABLE products AS FROM read_csv('{products}', header=true, all_varchar=true)")
db.execute("""CREATE TABLE clean AS SELECT DISTINCT InvoiceNo AS invoice, upper(StockCode) AS stock_code, Quantity AS quantity,
    InvoiceDate AS invoice_date, UnitPrice AS unit_price, Quantity * UnitPrice AS amount, CustomerID::INTEGER AS customer_id,
    Country AS country FROM lines WHERE UnitPrice > 0 AND Quantity <> 0""")
TABLES = dict(
    cleaned_lines="""SELECT c.invoice, c.stock_code, p.description, c.quantity, c.invoice_date, c.unit_price, c.amount, c.customer_id,
        c.country, starts_with(c.invoice, 'C') AS returned FROM clean c JOIN products p ON p.stock_code = c.stock_code""",
    revenue_by_day="""SELECT invoice_date::DATE AS day, country, sum(amount) AS revenue, sum(amount) FILTER (WHERE quantity < 0) AS returns,
        count(DISTINCT invoice) AS invoices FROM clean GROUP BY ALL""",
    revenue_by_month="""SELECT date_trunc('month', day)::DATE AS month, country, sum(revenue) AS revenue, sum(invoices) AS invoices FROM (
        SELECT invoice_date::DATE AS day, country, sum(amount) AS revenue, count(DISTINCT invoice) AS invoices FROM clean GROUP BY ALL)
        GROUP BY ALL""",
    top_products="""SELECT month, stock_code, revenue, quantity, row_number() OVER (PARTITION BY month ORDER BY revenue DESC, stock_code) AS place
        FROM (SELECT date_trunc('month', invoice_date)::DATE AS month, stock_code, sum(amount) AS revenue, sum(quantity) AS quantity
        FROM clean GROUP BY ALL) QUALIFY place <= 10""",
    customers="""SELECT customer_id, (SELECT max(invoice_date::DATE) FROM clean) - max(invoice_date::DATE) AS recency_days,
        count(DISTINCT invoice) AS frequency, sum(amount) AS value FROM clean WHERE customer_id IS NOT NULL GROUP BY customer_id""",
)
for name, query in TABLES.items():
    db.execute(f"COPY ({query}) TO '{out}/{name}.parquet' {PARQUET}")
