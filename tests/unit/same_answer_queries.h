/* Queries whose incremental answer is compared with DuckDB's, over the sources of plan_world.h. */
static const struct {
    const char *clauses, *query;
} queries[] = {
    /* row-wise */
    {"", "SELECT order_id, amount * 2 AS a, upper(status) AS u FROM orders WHERE status <> 'b' OR amount > 3"},
    {"", "SELECT * FROM orders WHERE amount BETWEEN 1 AND 5 AND status IN ('a', 'b') AND event_time >= TIMESTAMP '2026-01-01 00:02:00'"},
    {"", "SELECT CASE WHEN amount > 5 THEN 'big' WHEN amount > 1 THEN status ELSE 'x' END AS c, coalesce(status, 'none') AS s, "
         "TRY_CAST(status AS INTEGER) AS i, event_time + INTERVAL '1 hour' AS t, amount::DOUBLE AS d FROM orders"},
    {"", "SELECT amount + 1 AS a, amount - quantity AS b, amount * 1.5 AS c, amount / 3 AS d, quantity % 3 AS e, quantity // 2 AS f, "
         "-amount AS g, quantity * 2 AS h, round(amount, 1) AS i, price * 3 AS j FROM orders"},
    {"", "SELECT status || '-' || order_id AS a, status LIKE 'a%' AS b, status IS DISTINCT FROM 'b' AS c, NOT (status IS NULL) AS d, "
         "left(status, 1) AS e, strftime(event_time, '%Y-%m') AS f, date_trunc('hour', event_time) AS g, hour(event_time) AS h, "
         "event_time::DATE AS i, date_diff('minute', TIMESTAMP '2026-01-01', event_time) AS j FROM orders"},
    {"", "SELECT json_extract_string('{\"a\":' || order_id || '}', '$.a') AS a, md5(status) AS m, "
         "list_contains([status, 'q'], 'a') AS l, {'x': order_id}.x AS s, string_split(event_id, 'e')[2] AS p FROM orders"},
    {"", "SELECT event_id[2:3] AS a, event_id[:2] AS b, event_id[-2:] AS c, event_id[:] AS d, array_to_string([order_id, 1, quantity][:-:2], ',') AS e, "
         "array_to_string([order_id, 1, quantity][2:], ',') AS f, array_slice(event_id, 1, quantity) AS g, "
         "md5_number_lower(event_id) % 10 AS h, list_slice([quantity, 5], 2, 2)[1] AS i FROM orders"},
    {"", "SELECT quantity::VARCHAR AS a, (quantity > 1)::INTEGER AS b, amount::DECIMAL(38,4) AS c, quantity::HUGEINT AS d, price::FLOAT AS e, "
         "DATE '2026-02-03' AS f, TIME '10:11:12' AS g, INTERVAL '2 months 3 days' AS h, '\\xAA'::BLOB AS i, "
         "'6d1c1e3f-0000-4000-8000-000000000001'::UUID AS j, NULL AS k, 17014118346046923173168730371588410572 AS l, "
         "1e300::DOUBLE AS m, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS n, 18446744073709551615::UBIGINT AS o FROM orders"},
    {"", "SELECT list_transform([order_id, quantity], lambda x, i: x + i + customer_id)[2] AS a, list_filter([status, 'b'], lambda x: x <> 'a')[1] AS b, "
         "list_reduce([1, 2, quantity], lambda a, b: a * 2 + b) AS c, "
         "list_transform([quantity, 2], lambda x: list_sum(list_transform([x, order_id], lambda y: y * x + quantity)))[1] AS d FROM orders"},
    {"", "SELECT order_id FROM orders WHERE (quantity, product_id) IN ((1, 2), (3, 4)) OR order_id IN (1, 2)"},
    {"", "SELECT order_id, unnest(string_split(status || ',' || quantity, ',')) AS part FROM orders WHERE amount > 0"},
    {"", "SELECT order_id, unnest([quantity, 7]) + 1 AS a, unnest([status, 'x', event_id]) AS b FROM orders"},
    {"", "SELECT o.order_id, u.p FROM orders o, LATERAL (SELECT unnest(string_split(o.event_id, 'e')) AS p) u"},
    {"", "SELECT p, count(*) AS n FROM (SELECT unnest(CASE WHEN quantity > 1 THEN [status, 'z'] END) AS p FROM orders) GROUP BY p"},
    {"", "SELECT status FROM orders UNION ALL SELECT category FROM products"},
    {"", "SELECT order_id, x.u FROM (SELECT order_id, upper(status) AS u, amount FROM orders) x WHERE x.amount > 1"},
    {"", "SELECT * FROM paid"},
    /* de-duplication */
    {"", "SELECT DISTINCT ON (event_id) * FROM orders"},
    {"", "SELECT DISTINCT ON (event_id) event_id, status FROM orders ORDER BY event_id, event_time DESC"},
    {"", "SELECT DISTINCT ON (order_id, customer_id) order_id, customer_id, amount FROM orders ORDER BY amount NULLS FIRST"},
    {"", "SELECT DISTINCT product_id, status FROM orders"},
    {"", "SELECT status FROM orders UNION SELECT category FROM products"},
    {"", "SELECT DISTINCT ON (category) category, price FROM products ORDER BY price DESC"},
    {"", "SELECT count(*) AS n, sum(amount) AS s FROM (SELECT DISTINCT ON (event_id) * FROM orders)"},
    /* first rows of everything, and of keys */
    {"", "SELECT order_id, amount FROM orders ORDER BY amount DESC LIMIT 4"},
    {"", "SELECT status, price, event_id FROM orders ORDER BY status NULLS FIRST, price DESC LIMIT 5 OFFSET 3"},
    {"", "SELECT status, quantity FROM orders ORDER BY upper(status), quantity % 2 LIMIT 6"},
    {"", "SELECT customer_id, sum(amount) AS total FROM orders GROUP BY customer_id ORDER BY total DESC LIMIT 2"},
    {"", "SELECT count(*) AS n, sum(price) AS s FROM (SELECT * FROM products ORDER BY price LIMIT 3)"},
    {"", "SELECT DISTINCT ON (status) status, product_id, n FROM (SELECT status, product_id, count(*) AS n FROM orders GROUP BY ALL) ORDER BY n DESC"},
    {"", "SELECT customer_id, amount, row_number() OVER (PARTITION BY customer_id ORDER BY amount DESC) AS place FROM orders QUALIFY place <= 3"},
    {"", "SELECT customer_id, status FROM orders QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY price) = 2"},
    {"", "SELECT status, n, row_number() OVER (ORDER BY n DESC) AS place FROM (SELECT status, count(*) AS n FROM orders GROUP BY status) QUALIFY place BETWEEN 2 AND 3"},
    {"", "SELECT * FROM (SELECT product_id, category, row_number() OVER (PARTITION BY category ORDER BY price) AS place FROM products) WHERE place > 1 AND place < 4 AND product_id > 1"},
    {"", "SELECT category, product_id FROM products QUALIFY row_number() OVER (PARTITION BY category ORDER BY price DESC) = 1"},
    /* aggregates */
    {"", "SELECT status, count(*) AS n, count(amount) AS c, sum(amount) AS s, sum(quantity) AS q, avg(amount) AS a, avg(quantity) AS b, "
         "sum(price) AS p, avg(price) AS ap, min(amount) AS mi, max(event_time) AS ma FROM orders GROUP BY status"},
    {"", "SELECT customer_id, count(DISTINCT status) AS d, arg_max(status, event_time) AS x, arg_min(status, amount) AS y, any_value(status) AS v, "
         "first(amount) AS f, bool_and(quantity > 0) AS ba, bool_or(quantity > 2) AS bo FROM orders GROUP BY customer_id"},
    {"", "SELECT customer_id, sum(amount) FILTER (WHERE status = 'a') AS s, count(*) FILTER (WHERE quantity > 1) AS c, count_if(quantity > 1) AS ci, "
         "arg_max(order_id, price) FILTER (WHERE quantity > 0) AS am, min(status) FILTER (WHERE status > 'a') AS ms FROM orders GROUP BY ALL"},
    {"", "SELECT count(*) AS n, sum(amount) AS s, max(event_time) AS m, min(price) AS p, arg_max(status, amount) AS am FROM orders"},
    {"", "SELECT status, count(*) AS n FROM orders GROUP BY status HAVING count(*) > 2 AND sum(amount) > 1"},
    {"", "SELECT upper(status) AS u, quantity % 2 AS k, sum(amount * 2) AS s FROM orders WHERE amount > 0 GROUP BY ALL"},
    {"", "SELECT n, count(*) AS c FROM (SELECT order_id, count(*) AS n FROM orders GROUP BY order_id) GROUP BY n"},
    {"", "SELECT n, max(order_id) AS m, arg_min(order_id, n) AS a FROM (SELECT order_id, count(*) AS n FROM orders GROUP BY order_id) GROUP BY n"},
    {"", "SELECT sum(price) AS s, avg(price::FLOAT) AS a FROM orders"},
    {"", "SELECT product_id, sum(DISTINCT quantity) AS s, avg(DISTINCT price) AS a FROM orders GROUP BY product_id"},
    {"", "SELECT event_time::DATE AS d, sum(quantity::DOUBLE) AS s FROM orders GROUP BY d"},
    /* several groupings at once */
    {"", "SELECT status, quantity, count(*) AS n, sum(amount) AS s, grouping(status, quantity) AS g FROM orders GROUP BY ROLLUP (status, quantity)"},
    {"", "SELECT status, customer_id, sum(price) AS s, max(event_time) AS m FROM orders GROUP BY CUBE (status, customer_id)"},
    {"", "SELECT status, quantity % 2 AS odd, count(DISTINCT customer_id) AS n FROM orders GROUP BY GROUPING SETS ((status), (odd), (odd), ()) HAVING count(*) > 1"},
    {"", "SELECT category, count(*) AS n, grouping(category) AS g FROM products GROUP BY ROLLUP (category)"},
    {"", "SELECT status, quantity, median(amount) AS m FROM orders GROUP BY GROUPING SETS ((status, quantity), (status))"},
    /* windows of event time */
    {"", "SELECT window_start, status, count(*) AS n, sum(amount) AS s FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL"},
    {"", "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '3' MINUTE) GROUP BY ALL"},
    {"ALLOW LATENESS INTERVAL '0' SECOND", "SELECT window_end, max(price) AS n FROM TUMBLE(paid, event_time, INTERVAL '2' MINUTE) GROUP BY window_end"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_start, status, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL HAVING count(*) > 1"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_start, sum(amount) AS n FROM TUMBLE(orders, event_time, INTERVAL '2' MINUTE) GROUP BY ALL"},
    {"", "SELECT window_start, count(*) AS n FROM (SELECT DISTINCT ON (event_id) *, leat_tumble(event_time, 60000000, 0) AS window_start FROM orders "
         "ORDER BY event_id, event_time) GROUP BY ALL"},
    {"", "SELECT window_start, status, count(*) AS n FROM TUMBLE(deduped, event_time, INTERVAL '1' MINUTE) GROUP BY ALL"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_start, count(*) AS n, sum(amount) AS s FROM TUMBLE(deduped, event_time, INTERVAL '2' MINUTE) GROUP BY ALL"},
    {"", "SELECT window_start, status, count(*) AS n, sum(amount) AS s FROM HOP(orders, event_time, INTERVAL '1' MINUTE, INTERVAL '3' MINUTE) GROUP BY ALL"},
    {"", "SELECT window_start, window_end, order_id FROM HOP(deduped, event_time, INTERVAL '2' MINUTE, INTERVAL '4' MINUTE, TIMESTAMP '2026-01-01 00:00:30')"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_end, count(*) AS n FROM HOP(orders, event_time, INTERVAL '30' SECOND, INTERVAL '2' MINUTE) GROUP BY ALL"},
    {"", "SELECT window_start, window_end, customer_id, count(*) AS n, sum(amount) AS s FROM SESSION(orders, event_time, PARTITION BY customer_id, INTERVAL '1' MINUTE) GROUP BY ALL"},
    {"", "SELECT * FROM SESSION(paid, event_time, PARTITION BY customer_id, status, INTERVAL '20' SECOND)"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_start, window_end, customer_id, count(*) AS n FROM SESSION(orders, event_time, PARTITION BY customer_id, INTERVAL '1' MINUTE) GROUP BY ALL"},
    {"EMIT ON WINDOW CLOSE", "SELECT window_end, status, sum(amount) AS n FROM SESSION(deduped, event_time, PARTITION BY status, INTERVAL '30' SECOND) GROUP BY ALL"},
    {"", "SELECT window_start, order_id, row_number() OVER (PARTITION BY window_start ORDER BY amount) AS r FROM TUMBLE(paid, event_time, INTERVAL '1' MINUTE)"},
    {"ALLOW LATENESS INTERVAL '1' SECOND", "SELECT order_id, status FROM orders"},
    /* look-ups */
    {"", "SELECT o.order_id, p.category, p.price FROM orders o JOIN products p USING (product_id)"},
    {"", "SELECT o.order_id, p.category FROM orders o LEFT JOIN products p ON o.product_id = p.product_id AND p.price > o.amount"},
    {"", "SELECT o.order_id, p.category FROM orders o JOIN products p ON p.product_id = o.product_id AND p.price < o.amount AND p.category = 'x'"},
    {"", "SELECT o.order_id FROM orders o WHERE EXISTS (SELECT 1 FROM products p WHERE p.product_id = o.product_id AND p.price > 2)"},
    {"", "SELECT o.order_id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM products p WHERE p.product_id = o.product_id)"},
    {"", "SELECT o.order_id FROM orders o ANTI JOIN products p ON p.product_id = o.product_id AND p.price > o.amount"},
    {"", "SELECT o.order_id FROM orders o SEMI JOIN products p ON p.product_id = o.product_id AND p.price > o.amount"},
    {"", "SELECT p.category, o.order_id FROM products p RIGHT JOIN orders o ON p.product_id = o.product_id"},
    {"", "SELECT o.order_id, p.category FROM products p JOIN orders o ON p.product_id = o.customer_id"},
    {"", "SELECT c.name, o.order_id FROM orders o JOIN countries c ON o.status = c.code"},
    {"", "SELECT c.name, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) o LEFT JOIN countries c ON o.status = c.code GROUP BY c.name, window_start"},
    {"", "SELECT p.category, count(*) AS n, sum(o.amount) AS s FROM orders o JOIN products p USING (product_id) GROUP BY p.category"},
    {"", "SELECT p.category, max(o.amount) AS s FROM orders o JOIN products p USING (product_id) GROUP BY p.category"},
    {"", "SELECT window_start, p.category, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) o JOIN products p USING (product_id) GROUP BY ALL"},
    {"", "SELECT order_id FROM orders WHERE product_id IN (SELECT product_id FROM products WHERE price > 2)"},
    {"", "SELECT o.order_id, (SELECT max(price) FROM products p WHERE p.product_id = o.product_id) AS m FROM orders o"},
    /* joins */
    {"", "SELECT a.order_id, b.event_id FROM orders a JOIN orders b ON a.customer_id = b.customer_id AND a.order_id < b.order_id"},
    {"", "SELECT a.order_id, b.order_id AS o2 FROM orders a JOIN orders b ON a.customer_id = b.customer_id AND a.amount < b.amount"},
    {"", "SELECT a.order_id FROM orders a LEFT JOIN orders b ON a.order_id = b.order_id"},
    {"", "SELECT a.order_id, b.n FROM orders a LEFT JOIN (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) b ON a.customer_id = b.customer_id"},
    {"", "SELECT a.order_id, b.order_id AS o2 FROM orders a LEFT JOIN orders b ON a.customer_id = b.product_id AND a.amount < b.amount"},
    {"", "SELECT a.n, b.category FROM (SELECT product_id, count(*) AS n FROM orders GROUP BY product_id) a FULL JOIN products b ON a.product_id = b.product_id"},
    {"", "SELECT order_id FROM orders a WHERE EXISTS (SELECT 1 FROM orders b WHERE b.customer_id = a.customer_id AND b.amount > a.amount)"},
    {"", "SELECT order_id FROM orders a WHERE NOT EXISTS (SELECT 1 FROM orders b WHERE b.customer_id = a.customer_id AND b.amount > a.amount)"},
    {"", "SELECT o.order_id, o.amount FROM orders o WHERE o.amount > (SELECT avg(amount) FROM orders i WHERE i.product_id = o.product_id)"},
    {"", "SELECT order_id, amount / (SELECT sum(amount) FROM orders) AS share FROM orders"},
    {"", "SELECT order_id FROM orders WHERE EXISTS (SELECT 1 FROM products WHERE price > 3)"},
    {"", "SELECT o.order_id, p.category FROM orders o, products p WHERE o.amount > p.price"},
    {"", "SELECT o.order_id, x.m FROM orders o, LATERAL (SELECT max(price) AS m FROM products p WHERE p.product_id < o.product_id) x"},
    {"", "WITH x AS (SELECT product_id, count(*) AS c FROM orders GROUP BY 1) SELECT a.product_id, a.c, b.c AS d FROM x a JOIN x b ON a.product_id = b.product_id + 1"},
    {"", "SELECT order_id FROM orders WHERE order_id NOT IN (SELECT order_id FROM orders WHERE status = 'a')"},
    {"", "SELECT a.event_id FROM orders a JOIN orders b ON a.status IS NOT DISTINCT FROM b.status AND a.quantity IS NOT DISTINCT FROM b.product_id"},
    {"", "SELECT order_id FROM orders EXCEPT SELECT product_id FROM products"},
    {"", "SELECT customer_id FROM orders INTERSECT SELECT product_id FROM products"},
    {"", "SELECT order_id FROM orders EXCEPT ALL SELECT product_id FROM orders"},
    {"", "SELECT order_id, (SELECT price FROM products p WHERE p.product_id = o.product_id) AS pr FROM orders o"},
    {"", "SELECT order_id, EXISTS (SELECT 1 FROM products p WHERE p.product_id = o.product_id AND p.price > 1) AS e FROM orders o"},
    {"", "SELECT order_id, EXISTS (SELECT 1 FROM orders p WHERE p.customer_id = o.customer_id AND p.amount > o.amount) AS e FROM orders o"},
    {"", "SELECT order_id, order_id IN (SELECT order_id FROM orders WHERE status = 'a') AS e FROM orders o WHERE quantity > 1"},
    {"", "SELECT order_id, order_id IN (SELECT product_id FROM products) AS e FROM orders o"},
    {"", "SELECT o.order_id, v.n FROM orders o JOIN (VALUES (1, 'one'), (2, 'two'), (2, 'zwei')) v(id, n) ON o.product_id = v.id"},
    {"", "SELECT order_id, status FROM orders UNION ALL SELECT 7, 'seven'"},
    {"", "SELECT order_id FROM orders WHERE false"},
    {"", "SELECT t.order_id FROM (SELECT * FROM orders UNION ALL SELECT * FROM paid) t"},
    {"", "SELECT sum(t.price) AS s, t.status FROM (SELECT * FROM orders UNION ALL SELECT * FROM paid) t GROUP BY t.status"},
    {"", "SELECT a.window_start, a.n, b.s FROM (SELECT window_start, count(*) AS n FROM TUMBLE(orders, event_time, INTERVAL '1' MINUTE) GROUP BY ALL) a "
         "JOIN (SELECT window_start, sum(quantity) AS s FROM TUMBLE(paid, event_time, INTERVAL '1' MINUTE) GROUP BY ALL) b USING (window_start)"},
    {"", "SELECT o.order_id, (SELECT count(*) FROM orders i WHERE i.customer_id = o.customer_id AND i.event_time <= o.event_time) AS n FROM orders o"},
    {"", "SELECT order_id FROM orders o WHERE amount = (SELECT amount FROM orders i WHERE i.order_id = o.order_id ORDER BY event_time LIMIT 1)"},
    {"", "SELECT o.order_id, (SELECT string_agg(i.status, ',') FROM orders i WHERE i.customer_id = o.customer_id) AS n FROM orders o"},
    {"", "SELECT p.product_id, p.category, count(o.order_id) AS n FROM products p LEFT JOIN orders o USING (product_id) GROUP BY ALL"},
    {"", "SELECT order_id FROM orders WHERE status IN (SELECT DISTINCT ON (category) category FROM products ORDER BY category, price)"},
    {"", "SELECT c.name, p.category FROM countries c JOIN products p ON c.code = p.category"},
    {"", "WITH x AS (SELECT order_id, status, row_number() OVER (PARTITION BY order_id ORDER BY event_time) AS rn FROM orders) SELECT * FROM x WHERE rn = 1"},
    /* recomputed */
    {"", "SELECT customer_id, arg_max(status, event_time ORDER BY amount) AS a, arg_min(status, amount) AS b, median(price) AS m FROM orders GROUP BY customer_id"},
    {"", "SELECT order_id, mode(status) OVER (PARTITION BY order_id) AS m, last(status) OVER (PARTITION BY order_id ORDER BY quantity) AS l, "
         "row_number() OVER (PARTITION BY order_id ORDER BY quantity) + lag(amount) OVER (PARTITION BY order_id, status ORDER BY event_time) AS a FROM orders"},
    {"", "SELECT status, count(*) AS c, row_number() OVER (PARTITION BY count(*) ORDER BY sum(amount)) AS rn FROM orders GROUP BY ALL"},
    {"", "SELECT order_id, row_number() OVER (PARTITION BY p.category ORDER BY amount) AS rn FROM (SELECT * FROM orders) JOIN (SELECT product_id, category FROM products) p USING (product_id)"},
    {"", "SELECT customer_id, any_value(status ORDER BY event_time) AS a, len(list(status ORDER BY quantity)) AS n, list(order_id)[1] AS f, "
         "list_sum(list(DISTINCT quantity)) AS q FROM orders GROUP BY customer_id HAVING len(list(status)) > 1"},
    {"", "SELECT customer_id, quantile_disc(amount, [0.1, 0.5])[2] AS q, json_array_length(to_json(list(status))) AS j FROM orders GROUP BY customer_id"},
    {"", "SELECT order_id, amount, row_number() OVER (PARTITION BY event_id ORDER BY amount DESC, price) AS rn FROM orders QUALIFY rn = 1 AND amount > 2"},
    {"", "SELECT order_id, list(status) OVER (PARTITION BY order_id ORDER BY quantity)[1] AS l FROM orders"},
    {"", "SELECT customer_id, median(amount) AS m, quantile_cont(amount, 0.9) AS q, mode(status) AS mo, string_agg(status, ',' ORDER BY event_time) AS s "
         "FROM orders GROUP BY customer_id"},
    {"", "SELECT customer_id, last(status ORDER BY event_time) AS l, first(status ORDER BY event_time) AS f, arg_max_null(status, amount) AS an, "
         "string_agg(DISTINCT status, ';') AS d FROM orders GROUP BY customer_id"},
    {"", "SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY amount DESC) AS n FROM orders"},
    {"", "SELECT * FROM orders QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY amount DESC) <= 2"},
    {"", "SELECT * FROM orders QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_time) = 1"},
    {"", "SELECT order_id, lag(status, 1, 'none') OVER (PARTITION BY order_id ORDER BY event_time) AS p, sum(amount) OVER (PARTITION BY order_id "
         "ORDER BY event_time ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s, first_value(status) OVER (PARTITION BY order_id ORDER BY event_time "
         "RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW) AS f, rank() OVER (PARTITION BY order_id ORDER BY quantity) AS r FROM orders"},
    {"", "SELECT order_id, last_value(status) OVER (PARTITION BY customer_id ORDER BY quantity) AS l, nth_value(status, 2) OVER (PARTITION BY customer_id ORDER BY quantity) AS n, "
         "ntile(3) OVER (PARTITION BY customer_id ORDER BY quantity) AS t, lead(amount) OVER (PARTITION BY customer_id ORDER BY quantity DESC) AS ld, "
         "avg(price) OVER (PARTITION BY customer_id ORDER BY quantity GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS av, "
         "count(*) FILTER (WHERE status = 'a') OVER (PARTITION BY customer_id) AS c, string_agg(status, '') OVER (PARTITION BY customer_id ORDER BY quantity) AS sa FROM orders"},
    {"", "SELECT customer_id, status, sum(amount) AS s FROM orders GROUP BY customer_id, ROLLUP (status)"},
    {"", "SELECT status, n, row_number() OVER (PARTITION BY n ORDER BY s) AS r FROM (SELECT status, count(*) AS n, sum(amount) AS s FROM orders GROUP BY status)"},
    {"", "SELECT customer_id, count(*) AS n, row_number() OVER (PARTITION BY count(*) ORDER BY sum(quantity)) AS r FROM orders GROUP BY customer_id"},
    {"", "SELECT category, first(price) AS f, max(product_id) AS m FROM products GROUP BY category"},
};
