-- The catalogue is not among the data, so it is made from it: for each stock code its most frequent description.
CREATE SOURCE lines (
  StockCode VARCHAR NOT NULL,
  Description VARCHAR
)
WITH (connector = 'file', path = '${RETAIL_LINES}', format = 'csv', mode = 'once');

CREATE MATERIALIZED TABLE catalogue
SCHEDULE CRON '0 1 * * *'
AS SELECT stock_code, description
   FROM (SELECT upper(StockCode) AS stock_code, coalesce(Description, '?') AS description, count(*) AS n
         FROM lines GROUP BY ALL)
   QUALIFY row_number() OVER (PARTITION BY stock_code ORDER BY description = '?', n DESC, description) = 1;
