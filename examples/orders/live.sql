-- What customers and the fraud desk wait for: at most a second old.

CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at
   FROM order_events GROUP BY order_id;

-- Many orders of one customer within a minute. Windows of a minute begin every half minute, so that each minute with a burst lies in one that
-- has its first order in its first half; only that one counts.
CREATE VIEW velocity AS
  SELECT customer_id, window_start
  FROM HOP(order_events, event_time, INTERVAL '30' SECOND, INTERVAL '1' MINUTE)
  WHERE status = 'placed'
  GROUP BY customer_id, window_start
  HAVING count(DISTINCT order_id) >= 6 AND min(event_time) < window_start + INTERVAL '30' SECOND;

-- Paid from two countries within ten minutes.
CREATE VIEW country_change AS
  SELECT customer_id, window_start
  FROM HOP(payments, event_time, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE)
  GROUP BY customer_id, window_start
  HAVING min(country) <> max(country) AND min(event_time) < window_start + INTERVAL '5' MINUTE;

-- One card for many payments of several customers within minutes: it was stolen.
CREATE VIEW card_velocity AS
  SELECT card, window_start
  FROM HOP(payments, event_time, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE)
  GROUP BY card, window_start
  HAVING count(*) >= 8 AND count(DISTINCT customer_id) >= 3 AND min(event_time) < window_start + INTERVAL '5' MINUTE;

-- A large order, far above the average of the customer's other ones. Only large orders are kept, and one row for each customer.
CREATE VIEW large_amount AS
  SELECT o.customer_id, o.order_id, o.event_time
  FROM (SELECT * FROM placed WHERE amount >= 5000) o
  JOIN (SELECT customer_id, count(*) AS orders, sum(amount) AS total FROM placed GROUP BY customer_id) c USING (customer_id)
  WHERE c.orders = 1 OR o.amount * (c.orders - 1) > 3 * (c.total - o.amount);

CREATE MATERIALIZED TABLE fraud_alerts (PRIMARY KEY (alert_id))
FRESHNESS = INTERVAL '1' SECOND
AS SELECT 'velocity-' || customer_id || '-' || epoch_ms(window_start) AS alert_id, 'velocity' AS kind, customer_id,
          NULL::BIGINT AS order_id, window_start AS since FROM velocity
   UNION ALL
   SELECT 'amount-' || order_id, 'amount', customer_id, order_id, event_time FROM large_amount
   UNION ALL
   SELECT 'country-' || customer_id || '-' || epoch_ms(window_start), 'country', customer_id, NULL, window_start FROM country_change
   UNION ALL
   SELECT 'card-' || card || '-' || epoch_ms(window_start), 'card', NULL, NULL, window_start FROM card_velocity;
