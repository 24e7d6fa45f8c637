#!/bin/bash
# The dial of the real program: ALTER beside a `leat run` that is killed with SIGKILL a drawn moment later, then begun again; after each,
# verify prints 0 differing rows, and the table is as the last ALTER that was answered says. Usage: alter.sh LEAT FOLDER ROUNDS [SEED]
set -eu
leat=$1 work=$2 rounds=$3 RANDOM=${4:-42}
shop=$work/shop
rm -rf "$work"
mkdir -p "$shop/in"
cat >"$shop/shop.sql" <<'SQL'
SET commit_interval = INTERVAL '100' MILLISECOND;
CREATE SOURCE orders (id INTEGER NOT NULL, product INTEGER, amount INTEGER, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH (connector = 'file', path = 'in/*.ndjson', format = 'json');
-- the one that is turned
CREATE MATERIALIZED TABLE sums /* here */ FRESHNESS = INTERVAL '1' SECOND
AS SELECT product, count(*) AS n, sum(amount) AS amount FROM (SELECT DISTINCT ON (id) * FROM orders) GROUP BY product;
CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) GROUP BY window_start;
SQL
mkfifo "$work/never"
pause() { read -r -t "$1" <>"$work/never" || true; }
id=0
feed() {
    local i
    for ((i = 0; i < 200; i++)); do
        id=$((id + RANDOM % 2)) # half of them twice
        printf '{"id":%d,"product":%d,"amount":%d,"ts":"2026-03-01 00:%02d:%02d"}\n' $id $((RANDOM % 9)) $((RANDOM % 50)) $((id / 60 % 60)) $((id % 60))
    done >>"$shop/in/orders.ndjson"
}
statements=("SET FRESHNESS = INTERVAL '1' DAY" "SUSPEND" "SET FRESHNESS = INTERVAL '2' SECOND" "RESUME" "SET SCHEDULE CRON '0 2 * * *'"
    "REFRESH" "SET FRESHNESS = INTERVAL '1' SECOND")
for ((round = 0; round < rounds; round++)); do
    statement="ALTER MATERIALIZED TABLE sums ${statements[$((round % ${#statements[@]}))]}"
    feed
    rm -rf "$shop/.leat/control" # of the one that was killed
    "$leat" run --project "$shop" 2>"$work/run.log" &
    running=$!
    for ((i = 0; i < 400; i++)); do # until it listens
        [ -p "$shop/.leat/control/wake" ] && break
        pause 0.05
    done
    feed
    ("$leat" alter --project "$shop" "$statement" >"$work/answer" 2>&1) &
    asking=$!
    pause "0.$(printf %03d $((RANDOM % 400)))"
    kill -9 $running
    wait $running 2>/dev/null || true
    wait $asking || true
    # Killed before or after: asked again, it holds.
    "$leat" alter --project "$shop" "$statement" >"$work/again" 2>&1 || { cat "$work/again"; echo "round $round: $statement failed"; exit 1; }
    "$leat" run --once --project "$shop" 2>"$work/once.log" || { cat "$work/once.log"; exit 1; }
    "$leat" verify --project "$shop" >"$work/verify" 2>&1 || { cat "$work/verify"; echo "round $round: $statement: differs"; exit 1; }
done
grep -q -- '-- the one that is turned' "$shop/shop.sql" && grep -q '/\* here \*/' "$shop/shop.sql" || { echo "ALTER changed more than the clause"; exit 1; }
echo "$rounds changes with kills: every table as DuckDB has it"
