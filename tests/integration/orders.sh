#!/bin/sh
# examples/orders over a generated day, in steps of at most 1000 records: what leat says was late, malformed, duplicate and fraudulent is
# counted against what the generator planted; then restated, verified, pinned, and one table turned from a second to a day. And
# `leat new` from each of the day's files gives a project that runs. Usage: orders.sh LEAT FOLDER
set -eu
leat=$(readlink -f "$1") work=$2
example=$(cd "$(dirname "$0")/../.." && pwd)/examples/orders
rm -rf "$work"
mkdir -p "$work/shop"
work=$(cd "$work" && pwd)
cd "$work"
fail() { echo "FAILED: $*"; exit 1; }
cell() { "$leat" sql --project shop --format csv "$1" | tail -n 1; }
equal() { [ "$2" = "$3" ] || fail "$1: $2, planted $3"; echo "    $1: $2"; }
planted() { awk -F'[:,]' -v key="\"$1\"" '{ gsub(/[ }]/, "") } $1 == key || $1 == "{" key { print $2; exit }' shop/in/planted.json; }
lines() { # lines FILE KIND: numbers of the lines of these kinds (a pattern), sorted
    grep "\"file\":\"$1\"" shop/in/planted.ndjson | grep -E "\"kind\":\"($2)\"" | sed 's/.*"line":\([0-9]*\).*/\1/' | sort
}

cp "$example"/sources.sql "$example"/live.sql "$example"/nightly.sql shop/
"$leat" generate --out shop/in --events 15000 --rate 20 --fraud 6 --late 8 --malformed 6 --seed 4 >/dev/null
"$leat" check --project shop
mkdir servers
cp "$example"/../servers/kafka/sources.sql "$example"/../servers/sinks.sql "$example"/live.sql servers/
KAFKA=127.0.0.1:9092 SHOP_DSN=dbname=shop CASSANDRA=127.0.0.1 FRAUD_URL=http://127.0.0.1/ FRAUD_SECRET=whsec_c2VjcmV0 "$leat" check --project servers # has what live.sql reads
"$leat" run --once --all --max-step-rows 1000 --project shop
"$leat" verify --project shop

echo "malformed lines, and only they, are dead letters"
malformed='truncated|not_json|wrong_type|missing_key|null_key|bad_time|epoch_time|bad_number|out_of_range|invalid_utf8'
lines order_events.ndjson "$malformed" >planted-dead
"$leat" sql --project shop --format csv 'SELECT _offset + 1 FROM order_events__dead' | tail -n +2 | sort >dead
cmp planted-dead dead || fail "dead letters are not the malformed lines"
equal "dead letters" "$(wc -l <dead)" "$(planted malformed)"

echo "late: each was planted; of the planted ones the rest came in one step with what overtook them"
lines order_events.ndjson late >planted-late
"$leat" sql --project shop --format csv 'SELECT _offset + 1 FROM fraud_alerts__late' | tail -n +2 | sort >late
[ "$(comm -13 planted-late late | wc -l)" = 0 ] || fail "late, and not planted: $(comm -13 planted-late late | head -n 3)"
[ $(($(wc -l <late) * 2)) -gt "$(wc -l <planted-late)" ] || fail "only $(wc -l <late) of $(wc -l <planted-late) are late"
echo "    late: $(wc -l <late) of $(wc -l <planted-late)"

echo "duplicates are counted once"
equal "different events" "$(cell 'SELECT count(*) FROM silver_orders')" "$(planted events)"
for status in placed paid shipped delivered cancelled returned; do
    equal "$status" "$(cell "SELECT count(*) FROM silver_orders WHERE status = '$status'")" "$(planted $status)"
done
equal "amount placed" "$(cell "SELECT sum(amount) FROM silver_orders WHERE status = 'placed'")" "$(planted placed_amount | tr -d '"')"
equal "revenue by day" "$(cell 'SELECT sum(revenue) FROM gold_daily_revenue')" "$(cell "SELECT sum(amount) FROM silver_orders WHERE status = 'paid'")"
equal "revenue by month" "$(cell 'SELECT sum(revenue) FROM monthly_revenue')" "$(cell 'SELECT sum(revenue) FROM gold_daily_revenue')"

echo "with the late ones admitted, every fraud is found and nothing else"
"$leat" restate --project shop >/dev/null
equal "large amounts" "$(cell "SELECT count(*) FROM fraud_alerts WHERE kind = 'amount'")" "$(planted fraud_amount)"
for line in $(lines order_events.ndjson fraud_velocity); do sed -n "${line}s/.*customer_id\":\([0-9]*\).*/\1/p" shop/in/order_events.ndjson; done | sort -u >burst
"$leat" sql --project shop --format csv "SELECT DISTINCT customer_id FROM fraud_alerts WHERE kind = 'velocity'" | tail -n +2 | sort >velocity
cmp burst velocity || fail "bursts"
for line in $(lines payments.ndjson fraud_country); do sed -n "${line}s/.*customer_id\":\([0-9]*\).*/\1/p" shop/in/payments.ndjson; done | sort -u >abroad
"$leat" sql --project shop --format csv "SELECT DISTINCT customer_id FROM fraud_alerts WHERE kind = 'country'" | tail -n +2 | sort >country
cmp abroad country || fail "countries"
for line in $(lines payments.ndjson fraud_card); do # of incidents that the day's end did not cut short
    sed -n "${line}s/.*card\":\"\([0-9]*\).*/\1/p" shop/in/payments.ndjson
done | sort | uniq -c | awk '$1 >= 8 { print $2 }' >stolen
"$leat" sql --project shop --format csv "SELECT DISTINCT split_part(alert_id, '-', 2) FROM fraud_alerts WHERE kind = 'card'" | tail -n +2 | sort >card
cmp stolen card || fail "stolen cards"
[ -s burst ] && [ -s abroad ] && [ -s stolen ] || fail "nothing planted"
echo "    customers with bursts: $(wc -l <velocity), who paid from two countries: $(wc -l <country), stolen cards: $(wc -l <card)"
"$leat" verify --project shop >verify.txt || { cat verify.txt; fail "verify after the restatement"; }

echo "what is kept each second is kept incrementally"
for table in order_status fraud_alerts; do
    "$leat" explain $table --project shop | grep -q 'class 7' && fail "$table is recomputed whole"
done

echo "training data: nothing from the future, a split that holds, a version that stays"
equal "orders at the price of another time" "$(cell 'SELECT count(*) FROM training_orders WHERE amount < 5000 AND amount <> quantity * price_then')" 0
equal "orders that ended" "$(cell 'SELECT count(*) FROM training_orders')" "$(cell "SELECT count(DISTINCT order_id) FROM events
    JOIN (SELECT order_id FROM placed) USING (order_id) WHERE status IN ('delivered', 'cancelled', 'returned')")"
share=$(cell "SELECT round(100 * count(*) FILTER (WHERE split = 'train') / count(*)) FROM training_orders")
case $share in 7[89]* | 8[012]*) ;; *) fail "$share % in the training split" ;; esac
"$leat" pin training_orders AS spring --seed 42 --project shop
before=$(cell 'SELECT md5(string_agg(t::VARCHAR, chr(10) ORDER BY order_id)) FROM spring t')
echo '{"event_id":"new","order_id":100000001,"customer_id":1,"product_id":1,"quantity":1,"amount":1.00,"status":"placed","event_time":"2026-01-01T00:30:00Z"}' >>shop/in/order_events.ndjson
"$leat" run --once --all --project shop
equal "the pinned version" "$(cell 'SELECT md5(string_agg(t::VARCHAR, chr(10) ORDER BY order_id)) FROM spring t')" "$before"

echo "order_status from a second to a day: the same rows"
before=$(cell 'SELECT md5(string_agg(t::VARCHAR, chr(10) ORDER BY order_id)) FROM order_status t')
awk '/TABLE order_status/ { on = 1 } on && /^FRESHNESS/ { print "SCHEDULE CRON '"'0 2 * * *'"'"; on = 0; next } { print }' "$example/live.sql" >shop/live.sql
cmp -s "$example/live.sql" shop/live.sql && fail "nothing was changed"
"$leat" run --once --all --project shop
"$leat" verify order_status --project shop
equal "its content" "$(cell 'SELECT md5(string_agg(t::VARCHAR, chr(10) ORDER BY order_id)) FROM order_status t')" "$before"

echo "leat new: a project from each file, which runs at once"
for file in order_events.ndjson payments.ndjson products.csv; do
    "$leat" new "new-${file%%.*}" "shop/in/$file" >/dev/null
    "$leat" check --project "new-${file%%.*}"
    "$leat" run --once --all --project "new-${file%%.*}"
    "$leat" verify --project "new-${file%%.*}" >verify.txt || { cat verify.txt; fail "leat new $file"; }
    dead=$("$leat" status --project "new-${file%%.*}" | sed -n 's/^source .* records, \([0-9]*\) dead.*/\1/p')
    case $file:${dead:-none} in payments.*:0 | products.*:none | order_events.*:[1-9]*) ;; *) fail "$file: $dead dead" ;; esac
done
grep -q "INTERVAL '30 seconds'" new-order_events/project.sql || fail "the disorder is 30 seconds"
"$leat" new example >/dev/null
"$leat" run --once --all --project example
"$leat" verify --project example >verify.txt || { cat verify.txt; fail "leat new"; }
