-- An online shop's order lines, with the dirt they really have: cancellations (invoices C...), missing customers,
-- exact duplicates, prices of zero, stock codes that differ by case.
-- Every table runs nightly. Turn one into a stream by replacing its SCHEDULE line with
--     FRESHNESS = INTERVAL '1' SECOND
-- The content is the same either way; `leat verify` shows it.

CREATE SOURCE lines (
  InvoiceNo VARCHAR NOT NULL,
  StockCode VARCHAR NOT NULL,
  Description VARCHAR,
  Quantity INTEGER,
  InvoiceDate TIMESTAMP NOT NULL,
  UnitPrice DECIMAL(18,3),
  CustomerID INTEGER,
  Country VARCHAR,
  WATERMARK FOR InvoiceDate AS InvoiceDate - INTERVAL '2' HOUR
)
WITH (connector = 'file', path = '${RETAIL_LINES}', format = 'csv');

CREATE SOURCE products (stock_code VARCHAR PRIMARY KEY, description VARCHAR)
WITH (connector = 'file', path = '${RETAIL_PRODUCTS}', format = 'csv', refresh = INTERVAL '1' SECOND);

CREATE VIEW clean AS
  SELECT DISTINCT InvoiceNo AS invoice, upper(StockCode) AS stock_code, Quantity AS quantity, InvoiceDate AS invoice_date,
         UnitPrice AS unit_price, Quantity * UnitPrice AS amount, CustomerID AS customer_id, Country AS country
  FROM lines
  WHERE UnitPrice > 0 AND Quantity <> 0;

-- Lines with the catalogue's present description: a changed description changes old lines too.
CREATE MATERIALIZED TABLE cleaned_lines
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'
AS SELECT c.invoice, c.stock_code, p.description, c.quantity, c.invoice_date, c.unit_price, c.amount, c.customer_id, c.country,
          starts_with(c.invoice, 'C') AS returned
   FROM clean c JOIN products p ON p.stock_code = c.stock_code;

-- Returns are negative lines, so sums are net of them.
CREATE MATERIALIZED TABLE revenue_by_day
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'
AS SELECT CAST(invoice_date AS DATE) AS day, country, sum(amount) AS revenue,
          sum(amount) FILTER (WHERE quantity < 0) AS returns, count(DISTINCT invoice) AS invoices
   FROM clean GROUP BY ALL;

CREATE MATERIALIZED TABLE revenue_by_month
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'
AS SELECT CAST(date_trunc('month', day) AS DATE) AS month, country, sum(revenue) AS revenue, sum(invoices) AS invoices
   FROM revenue_by_day GROUP BY ALL;

CREATE MATERIALIZED TABLE top_products
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'
AS SELECT month, stock_code, revenue, quantity,
          row_number() OVER (PARTITION BY month ORDER BY revenue DESC, stock_code) AS place
   FROM (SELECT CAST(date_trunc('month', invoice_date) AS DATE) AS month, stock_code, sum(amount) AS revenue,
                sum(quantity) AS quantity
         FROM clean GROUP BY ALL)
   QUALIFY place <= 10;

-- Recency against the last invoice of the shop, frequency, value.
CREATE MATERIALIZED TABLE customers
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'
AS SELECT c.customer_id, l.last_day - c.last_day AS recency_days, c.frequency, c.value
   FROM (SELECT customer_id, max(CAST(invoice_date AS DATE)) AS last_day, count(DISTINCT invoice) AS frequency,
                sum(amount) AS value
         FROM clean WHERE customer_id IS NOT NULL GROUP BY customer_id) c
   CROSS JOIN (SELECT max(CAST(invoice_date AS DATE)) AS last_day FROM clean) l;
