#!/bin/bash
# advise, rehearse and diff on a small shop, by the program itself. Usage: audit.sh LEAT FOLDER
set -eu
leat=$(readlink -f "$1") work=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks"
rm -rf "$work"
mkdir -p "$work/shop/in" "$work/changed" "$work/same"
cd "$work"

field() { # field EXPRESSION: of the JSON in out.txt
    python3 -c "import json; d = json.load(open('out.txt')); print($1)"
}
cell() { "$leat" sql --project shop --format csv "$1" | tail -n 1; }

"$leat" generate --out data --events 6000 --rate 1 --late 10 >/dev/null
cp data/order_events.ndjson data/products.csv shop/in/
cat >shop/shop.sql <<'SQL'
CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, product_id INTEGER, amount DECIMAL(18,2), status VARCHAR, event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '2' SECOND -- too short
)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');
CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR)
WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);
CREATE VIEW clean_orders AS
  SELECT e.*, p.category FROM (SELECT DISTINCT ON (event_id) * FROM order_events WHERE amount >= 0) e JOIN products p USING (product_id);
CREATE MATERIALIZED TABLE silver_orders (PRIMARY KEY (event_id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM clean_orders;
CREATE MATERIALIZED TABLE revenue FRESHNESS = INTERVAL '1' SECOND -- as fresh as can be
AS SELECT category, count(*) AS orders, sum(amount) AS revenue FROM clean_orders GROUP BY category;
CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT CAST(event_time AS DATE) AS day, sum(amount) AS revenue FROM clean_orders GROUP BY ALL;
SQL
run 0 run --once --all --project shop
cp shop/shop.sql same/
sed 's/amount >= 0/amount >= 100/' shop/shop.sql >changed/shop.sql
cp -r shop/lake/revenue revenue-of-another

echo "== rehearse: the changed filter, exactly the rows that differ"
run 1 rehearse --json --rows 100000 --current shop --project changed
check "records rehearsed" 6000 "$(field "d['records']")"
check "rows gone" "$(cell 'SELECT count(*) FROM silver_orders WHERE amount < 100')" "$(field "[t['only_left'] for t in d['tables'] if t['table'] == 'silver_orders'][0]")"
field "sorted(e['key']['event_id'] for t in d['tables'] if t['table'] == 'silver_orders' for e in t['examples'])" >named.txt
"$leat" sql --project shop --format csv "SELECT event_id FROM silver_orders WHERE amount < 100 ORDER BY 1" | tail -n +2 >wanted.txt
python3 -c "print(sorted(open('wanted.txt').read().split()))" >wanted-list.txt
check "the rows named" "$(cat wanted-list.txt)" "$(cat named.txt)"
run 1 rehearse --current shop --project changed --rows 1
says "column revenue: differs in" out.txt
says "3 of 3 tables differ: silver_orders, revenue, nightly" out.txt
run 0 rehearse --current shop --project same
says "table silver_orders: equal" out.txt
says "6000 records over 98 min; order_events by event time, for it arrived in bulk; steps at least 11 s apart" out.txt
says "no table differs" out.txt
mkdir failing
sed "s/TABLE nightly/& (CONSTRAINT few EXPECT (revenue < 0) ON VIOLATION FAIL UPDATE)/" shop/shop.sql >failing/shop.sql
run 1 rehearse --current shop --project failing
says "the changed project could not bring it up to date: CONSTRAINT few" out.txt
says "1 of 3 tables differs: nightly" out.txt
run 1 rehearse --json --current shop --project failing
sed -i '/^{/!d' out.txt # the log says it too
check "why it failed" True "$(field "'few' in d['tables'][2]['right_error'] and 'left_error' not in d['tables'][2]")"
run 1 rehearse --json --current shop --project changed --from '2026-01-01 01:00:00' --to '2026-01-01 01:30:00'
check "a part of the recording" True "$(field "1700 < d['records'] < 1900")"
run 2 rehearse --current shop --project shop
check "nothing is left behind" "" "$(ls -A shop | grep rehearsal || true)"

echo "== diff: against a table that something else made"
run 0 diff revenue revenue-of-another --project shop
says "equal, 8 rows" out.txt
head -n 1 data/order_events.ndjson | sed 's/"event_id":"/"event_id":"new/; s/"amount":[0-9.]*/"amount":1.00/' >>shop/in/order_events.ndjson
run 0 run --once --project shop
run 1 diff revenue revenue-of-another --json --project shop
check "one category differs, in both sums" "1 [0, 1, 1]" "$(field "d['changed'], [c['changed'] for c in d['columns']]" | tr -d '()' | sed 's/1, \[/1 [/')"
run 2 diff revenue nowhere --project shop
run 2 diff revenu revenue-of-another --project shop
says "did you mean 'revenue'?" out.txt

echo "== a watermark too short: exactly the planted records are late, restated once, and watched windows say so"
mkdir -p short/in
"$leat" generate --out late --events 3000 --rate 1 --late 8 --malformed 0 >/dev/null
cp late/order_events.ndjson short/in/
cat >short/short.sql <<'SQL'
CREATE SOURCE order_events (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, amount DECIMAL(18,2), event_time TIMESTAMP NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND)
WITH (connector = 'file', path = 'in/order_events*.ndjson', format = 'json');
CREATE MATERIALIZED TABLE by_minute FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, count(*) AS orders, sum(amount) AS revenue FROM TUMBLE(order_events, event_time, INTERVAL '1' MINUTE) GROUP BY ALL;
SQL
run 0 run --once --max-step-rows 1 --project short
"$leat" sql --project short --format csv "SELECT _offset + 1 FROM by_minute__late ORDER BY 1" | tail -n +2 >late.txt
python3 -c "import json
for line in open('late/planted.ndjson'):
    d = json.loads(line)
    if d['kind'] == 'late' and d['file'].startswith('order_events'): print(d['line'])" | sort -n | uniq >planted.txt
checked=$((checked + 1))
cmp -s late.txt planted.txt || { failed=$((failed + 1)); echo "FAILED: late and planted differ"; diff late.txt planted.txt | head -5; }
check "some are planted" True "$(python3 -c "print(30 < len(open('planted.txt').readlines()) < 90)")"
run 0 status --project short
says "late (" out.txt
run 0 sql --project short "SELECT sum(_late_waiting) || ' wait' FROM by_minute__windows"
says "$(wc -l <planted.txt) wait" out.txt
run 0 restate --project short
says "$(wc -l <planted.txt) late records admitted" out.txt
run 0 verify --project short
says "by_minute: 0 differing rows" out.txt
"$leat" sql --project short --format csv "SELECT * FROM by_minute ORDER BY ALL" >restated.csv
run 0 restate --project short
says "nothing is late" out.txt
"$leat" sql --project short --format csv "SELECT * FROM by_minute ORDER BY ALL" >again.csv
check "a second restatement changes nothing" "" "$(diff restated.csv again.csv)"
run 0 rebuild by_minute --project short
says "by_minute: as it was" out.txt
run 0 retry-dead order_events --project short
says "0 dead letters: 0 usable now" out.txt

echo "== advise: a watermark, a freshness, written in place"
run 0 advise --project shop
says "CREATE MATERIALIZED TABLE silver_orders (PRIMARY KEY (event_id)) FRESHNESS = INTERVAL '1' SECOND AS" shop/shop.sql
run 0 advise order_events --missing 2 --json --project shop
delay=$(field "d[0]['watermark_us'] // 1000000")
run 0 advise order_events --missing 2 --write --project shop
says "WATERMARK FOR event_time AS event_time - INTERVAL '" shop/shop.sql
says "-- too short" shop/shop.sql
run 0 advise revenue --who watcher --within '1 minute' --if-late annoyance --write --project shop
says "CREATE MATERIALIZED TABLE revenue FRESHNESS = INTERVAL '30' SECOND -- as fresh as can be" shop/shop.sql
run 2 advise revenue --project shop </dev/null
run 2 advise products --project shop
run 0 check --project shop
check "the delay is one that misses little" True "$(python3 -c "print(20 <= $delay <= 3600)")"

echo "$checked checks, $failed failed"
[ $failed = 0 ]
