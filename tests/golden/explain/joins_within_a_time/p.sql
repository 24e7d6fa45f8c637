CREATE SOURCE orders (order_id BIGINT NOT NULL, item VARCHAR, ordered_at TIMESTAMP NOT NULL, shipped_at TIMESTAMP,
  WATERMARK FOR ordered_at AS ordered_at - INTERVAL '2' MINUTE)
WITH (connector = 'file', path = 'orders/*.json', format = 'json');
CREATE SOURCE payments (payment_id BIGINT NOT NULL, order_id BIGINT NOT NULL, amount DECIMAL(18,2), paid_at TIMESTAMP NOT NULL,
  WATERMARK FOR paid_at AS paid_at - INTERVAL '2' MINUTE)
WITH (connector = 'file', path = 'payments/*.json', format = 'json');
CREATE SOURCE clicks (order_id BIGINT NOT NULL, clicked_at TIMESTAMPTZ NOT NULL, WATERMARK FOR clicked_at AS clicked_at)
WITH (connector = 'file', path = 'clicks/*.json', format = 'json');
CREATE SOURCE views (order_id BIGINT NOT NULL, viewed_at TIMESTAMPTZ NOT NULL, WATERMARK FOR viewed_at AS viewed_at)
WITH (connector = 'file', path = 'views/*.json', format = 'json');
CREATE SOURCE states (id BIGINT PRIMARY KEY, state VARCHAR, changed_at TIMESTAMP NOT NULL)
WITH (connector = 'file', path = 'states/*.json', format = 'debezium-json', sequence = 'changed_at');
CREATE VIEW paid AS SELECT o.order_id, o.ordered_at, p.paid_at, p.amount FROM orders o JOIN payments p
  ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE VIEW paid_or_not AS SELECT o.order_id, o.ordered_at, p.amount FROM orders o LEFT JOIN payments p ON p.order_id = o.order_id
   AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE VIEW raising AS SELECT o.order_id, o.ordered_at, p.amount FROM orders o LEFT JOIN payments p ON p.order_id = o.order_id
   AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR AND CAST(o.item AS INTEGER) < p.amount;

-- bounded
CREATE MATERIALIZED TABLE between_bounds FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE AS SELECT * FROM paid;
CREATE MATERIALIZED TABLE operands_turned FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM payments p JOIN orders o ON o.order_id = p.order_id AND p.paid_at - INTERVAL '1' HOUR < o.ordered_at
   AND o.ordered_at - INTERVAL '30' SECOND <= p.paid_at;
CREATE MATERIALIZED TABLE in_where FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o, payments p WHERE o.order_id = p.order_id AND p.paid_at > o.ordered_at
   AND p.paid_at <= o.ordered_at + INTERVAL '1' HOUR + INTERVAL '30' MINUTE;
CREATE MATERIALIZED TABLE by_difference FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p USING (order_id) WHERE p.paid_at - o.ordered_at BETWEEN INTERVAL '0' MINUTE AND INTERVAL '1' DAY;
CREATE MATERIALIZED TABLE a_day_later FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p ON p.order_id = o.order_id AND p.paid_at >= o.ordered_at + INTERVAL '1' DAY
   AND p.paid_at <= o.ordered_at + INTERVAL '1' MONTH;
CREATE MATERIALIZED TABLE zoned FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT c.order_id, c.clicked_at, v.viewed_at FROM clicks c JOIN views v ON c.order_id = v.order_id AND c.clicked_at BETWEEN v.viewed_at AND v.viewed_at + INTERVAL '1' DAY;
CREATE MATERIALIZED TABLE zoned_difference FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT c.order_id, c.clicked_at, v.viewed_at FROM clicks c JOIN views v USING (order_id) WHERE c.clicked_at - v.viewed_at BETWEEN INTERVAL '1' HOUR AND INTERVAL '1' DAY;
CREATE MATERIALIZED TABLE zoned_hour FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT c.order_id, c.clicked_at, v.viewed_at FROM clicks c JOIN views v USING (order_id) WHERE c.clicked_at - v.viewed_at BETWEEN INTERVAL '0' HOUR AND INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE unpaid_too FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o LEFT JOIN payments p ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE both_too FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o FULL JOIN payments p ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE unpaid FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT order_id, item FROM orders o WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_id = o.order_id
   AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR);
CREATE MATERIALIZED TABLE how_many_paid FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT EXISTS (SELECT 1 FROM (SELECT paid_at AS at, order_id FROM payments) p WHERE p.order_id = o.order_id
   AND p.at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR) AS is_paid, count(*) AS n FROM orders o GROUP BY ALL;
CREATE MATERIALIZED TABLE paid_once FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM (SELECT DISTINCT ON (order_id, ordered_at) * FROM orders) o JOIN (SELECT DISTINCT ON (payment_id, paid_at) * FROM payments) p
   ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE same_window FRESHNESS = INTERVAL '5' SECOND
AS SELECT o.order_id, o.window_start, p.amount FROM TUMBLE(orders, ordered_at, INTERVAL '5' MINUTE) o
   JOIN (SELECT * FROM TUMBLE(payments, paid_at, INTERVAL '5' MINUTE)) p ON p.order_id = o.order_id AND p.window_start = o.window_start;
CREATE MATERIALIZED TABLE paid_by_minute FRESHNESS = INTERVAL '5' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, count(*) AS n, sum(amount) AS amount FROM TUMBLE(paid, ordered_at, INTERVAL '1' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE paid_by_hour FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, count(*) AS n FROM TUMBLE(paid, paid_at, INTERVAL '1' HOUR) GROUP BY ALL;
CREATE MATERIALIZED TABLE paid_or_not_by_minute FRESHNESS = INTERVAL '5' SECOND
AS SELECT window_start, count(*) AS n, count(amount) AS paid FROM TUMBLE(paid_or_not, ordered_at, INTERVAL '1' MINUTE) GROUP BY ALL;

-- bounded on one side only
CREATE MATERIALIZED TABLE no_end FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p ON p.order_id = o.order_id AND p.paid_at >= o.ordered_at;
CREATE MATERIALIZED TABLE no_end_unpaid_too FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o LEFT JOIN payments p ON p.order_id = o.order_id AND p.paid_at >= o.ordered_at;
CREATE MATERIALIZED TABLE after_shipping FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p ON p.order_id = o.order_id AND p.paid_at BETWEEN o.shipped_at AND o.shipped_at + INTERVAL '1' DAY;

-- not bounded
CREATE MATERIALIZED TABLE no_cut FRESHNESS = INTERVAL '5' SECOND AS SELECT * FROM paid;
CREATE MATERIALIZED TABLE either_or FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p ON p.order_id = o.order_id
   AND (p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR OR p.amount > 1000);
CREATE MATERIALIZED TABLE of_states FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, s.state FROM orders o JOIN states s ON s.id = o.order_id AND s.changed_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE of_newest FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.last_at FROM orders o JOIN (SELECT order_id, max(paid_at) AS last_at FROM payments GROUP BY order_id) p
   ON p.order_id = o.order_id AND p.last_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE of_table FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN between_bounds p ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '1' HOUR;
CREATE MATERIALIZED TABLE any_interval FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT o.order_id, p.amount FROM orders o JOIN payments p ON p.order_id = o.order_id AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + to_minutes(o.order_id);
CREATE MATERIALIZED TABLE raising_by_minute FRESHNESS = INTERVAL '5' SECOND ALLOW LATENESS INTERVAL '10' MINUTE
AS SELECT window_start, count(*) AS n FROM TUMBLE(raising, ordered_at, INTERVAL '1' MINUTE) GROUP BY ALL;
