#!/bin/bash
# Kills the real program with SIGKILL again and again under load, then compares every table with DuckDB and the
# row balance with the number of records. Usage: kill.sh LEAT FOLDER KILLS
set -eu
leat=$1 work=$2 kills=$3
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work/data" "$work/shop/in"
"$leat" generate --out "$work/data" --seed 11 --events 60000 --rate 500 --late 20 --duplicates 30 --malformed 10
cp "$here/shop.sql" "$work/shop/"
cp "$work/data/products.csv" "$work/shop/in/products.csv"
lines=$(wc -l <"$work/data/order_events.ndjson")
chunk=$((lines / kills + 1))
split -l "$chunk" -d -a 4 "$work/data/order_events.ndjson" "$work/data/part"
sed -i "1i SET checkpoint_records = 7000; SET commit_interval = INTERVAL '1' SECOND; SET bronze_interval = INTERVAL '1' SECOND;" "$work/shop/shop.sql"

RANDOM=42
killed=0
for part in "$work"/data/part*; do
    cat "$part" >>"$work/shop/in/order_events.ndjson"
    if [ $((killed % 10)) = 5 ]; then
        awk -F, -v OFS=, -v n=$killed 'NR > 1 && NR % 7 == n % 7 { $2 = "moved-" n } 1' "$work/shop/in/products.csv" >"$work/products.new"
        mv "$work/products.new" "$work/shop/in/products.csv"
    fi
    "$leat" run --project "$work/shop" --max-step-rows 400 &
    pid=$!
    sleep "0.$((RANDOM % 600 + 100))"
    kill -9 $pid
    wait $pid 2>/dev/null || true
    killed=$((killed + 1))
done
"$leat" run --once --all --final --project "$work/shop"
"$leat" verify --project "$work/shop" || { echo "FAILED: tables differ after $killed kills"; exit 1; }
"$leat" status --project "$work/shop" >"$work/status.txt"
cat "$work/status.txt"
if grep -q 'NOT EXACT' "$work/status.txt"; then echo "FAILED: row balance"; exit 1; fi
for table in order_status silver_orders revenue_by_minute; do
    grep -A1 "^table  $table " "$work/status.txt" | grep -q "order_events: $lines in" ||
        { echo "FAILED: $table did not see $lines records"; exit 1; }
done
echo "$killed kills: contents equal, row balance exact"
