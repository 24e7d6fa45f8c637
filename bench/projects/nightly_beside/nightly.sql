-- Over all events; here it runs again and again, each minute.
CREATE MATERIALIZED TABLE silver_orders
SCHEDULE CRON '* * * * *'
AS SELECT e.event_id, e.order_id, e.customer_id, e.product_id, p.category, e.quantity, e.amount, e.status, e.event_time
   FROM order_events e JOIN products p USING (product_id) WHERE e.amount >= 0;

CREATE MATERIALIZED TABLE gold_daily_revenue (PRIMARY KEY (day, category))
SCHEDULE CRON '* * * * *'
AS SELECT CAST(event_time AS DATE) AS day, category, count(*) AS orders, sum(quantity) AS pieces, sum(amount) AS revenue
   FROM silver_orders WHERE status = 'paid' GROUP BY ALL;
