-- What finance and the BI tool read: rebuilt each night, cheap, and nothing runs in between.

CREATE MATERIALIZED TABLE silver_orders (PRIMARY KEY (event_id))
SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'
CONSTRAINT amount_positive EXPECT (amount >= 0) ON VIOLATION QUARANTINE
AS SELECT e.event_id, e.order_id, e.customer_id, e.product_id, p.category, e.quantity, e.amount, e.status, e.event_time
   FROM events e JOIN products p USING (product_id);

CREATE MATERIALIZED TABLE gold_daily_revenue (PRIMARY KEY (day, category))
SCHEDULE CRON '30 2 * * *' AT TIME ZONE 'Europe/Berlin'
AS SELECT CAST(event_time AS DATE) AS day, category, count(*) AS orders, sum(quantity) AS pieces, sum(amount) AS revenue
   FROM silver_orders WHERE status = 'paid' GROUP BY ALL;

CREATE MATERIALIZED TABLE monthly_revenue (PRIMARY KEY (month, category))
SCHEDULE CRON '0 3 * * *' AT TIME ZONE 'Europe/Berlin'
AS SELECT CAST(date_trunc('month', day) AS DATE) AS month, category, sum(orders) AS orders, sum(revenue) AS revenue
   FROM gold_daily_revenue GROUP BY ALL;

-- Will an order be cancelled or returned? One row an order that has ended, with what was known when it was placed, and nothing that came
-- later: the customer's earlier orders, and the product's price and category as they were then. The split hangs on the order alone, so an order
-- never moves from training to test as the table grows.
CREATE MATERIALIZED TABLE training_orders (PRIMARY KEY (order_id))
SCHEDULE CRON '0 4 * * *' AT TIME ZONE 'Europe/Berlin'
AS WITH features AS (
     SELECT order_id, event_time AS ordered_at, product_id, quantity, amount,
            count(*) OVER earlier AS orders_before, avg(amount) OVER earlier AS average_before,
            date_diff('second', max(event_time) OVER earlier, event_time) AS seconds_since_last
     FROM placed
     WINDOW earlier AS (PARTITION BY customer_id ORDER BY event_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
   ), outcome AS (
     SELECT order_id, bool_or(status IN ('cancelled', 'returned')) AS label
     FROM events GROUP BY order_id HAVING bool_or(status IN ('delivered', 'cancelled', 'returned'))
   )
   SELECT f.*, v.category, v.price AS price_then, o.label,
          CASE WHEN md5_number(f.order_id::VARCHAR) % 10 < 8 THEN 'train' ELSE 'test' END AS split
   FROM features f JOIN outcome o USING (order_id)
   JOIN product_periods v ON v.product_id = f.product_id AND v.valid_from <= f.ordered_at AND f.ordered_at < v.valid_to;
