#!/bin/bash
# Input and disks as bad as they come: each gives the answer stated in docs/when-things-go-wrong.md, and the rest goes on.
# Usage: hostile.sh LEAT FOLDER
set -eu
leat=$1 work=$2
. "$(dirname "$0")/checks"
rm -rf "$work"
mkdir -p "$work/shop/in" "$work/cycle" "$work/misspelt"
cd "$work"

query() { # query SQL EXPECTED
    "$leat" sql --project shop "SELECT 'is ' || ($1) AS answer" >out.txt 2>&1 || true
    says "is $2" out.txt
}
clean() { # every table equals its SELECT, the balance is exact
    run 0 verify --project "$1"
    if grep -v ': 0 differing rows' out.txt | grep -q 'differing rows'; then
        failed=$((failed + 1))
        cat out.txt
    fi
    run 0 status --project "$1"
    if grep -q 'NOT EXACT' out.txt; then
        failed=$((failed + 1))
        cat out.txt
    fi
}

cat >shop/shop.sql <<'SQL'
CREATE SOURCE good (id BIGINT NOT NULL, v INTEGER) WITH (connector = 'file', path = 'in/good*.ndjson', format = 'json');
CREATE SOURCE orders (id BIGINT NOT NULL, v INTEGER, product_id INTEGER, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH (connector = 'file', path = 'in/orders*.ndjson', format = 'json');
CREATE SOURCE zipped (id BIGINT NOT NULL, v INTEGER) WITH (connector = 'file', path = 'in/zipped*.gz', format = 'json');
CREATE SOURCE damaged (id BIGINT NOT NULL, v INTEGER) WITH (connector = 'file', path = 'in/damaged*.gz', format = 'json');
CREATE SOURCE bomb (id BIGINT NOT NULL, v INTEGER) WITH (connector = 'file', path = 'in/bomb*.gz', format = 'json');
CREATE SOURCE sheets (id BIGINT NOT NULL, v INTEGER NOT NULL) WITH (connector = 'file', path = 'in/sheet*.csv', format = 'csv');
CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR)
WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '100' MILLISECOND);
CREATE MATERIALIZED TABLE good_sum FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM good;
CREATE MATERIALIZED TABLE by_category FRESHNESS = INTERVAL '1' SECOND
AS SELECT category, count(*) AS n, sum(v) AS v FROM orders JOIN products USING (product_id) GROUP BY category;
CREATE MATERIALIZED TABLE by_minute FRESHNESS = INTERVAL '1' SECOND
AS SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) GROUP BY ALL;
CREATE MATERIALIZED TABLE zipped_sum FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM zipped;
CREATE MATERIALIZED TABLE damaged_sum FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM damaged;
CREATE MATERIALIZED TABLE bomb_sum FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM bomb;
CREATE MATERIALIZED TABLE sheet_sum FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM sheets;
SQL
for i in 1 2 3 4 5; do echo "{\"id\":$i,\"v\":$i}"; done >shop/in/good.ndjson
cat >shop/in/orders.ndjson <<'JSON'
{"id":1,"v":1,"product_id":1,"ts":"2026-01-01 00:00:01"}
{"id":2,"v":2,"product_id":2,"ts":"2026-01-01 00
no json at all
{"id":3,"v":3,"product_id":2,"ts":"9999-12-31 23:59:59"}
{"v":4,"product_id":1,"ts":"2026-01-01 00:00:04"}
{"id":6,"v":6,"product_id":2,"ts":"2026-01-01 00:01:06"}
{"id":5,"v":"five","product_id":2,"ts":"2026-01-01 00:00:05"}
JSON
printf '\xff\xfe{"id":7}\n' >>shop/in/orders.ndjson
for i in $(seq 1 2000); do echo "{\"id\":$i,\"v\":1,\"x\":\"$RANDOM$RANDOM\"}"; done | gzip >whole.gz
head -c 12000 whole.gz >shop/in/zipped.json.gz
# Its checksum, the last eight bytes but four, is wrong.
{ head -c -8 whole.gz && printf '\1\2\3\4' && tail -c 4 whole.gz; } >shop/in/damaged.json.gz
{ echo '{"id":1,"v":1}'; head -c 40000000 /dev/zero | tr '\0' ' '; } | gzip -9 >shop/in/bomb.json.gz
printf 'id,w\n1,2\n' >shop/in/sheet.csv
printf 'product_id,category\n1,books\n2,toys\n' >shop/in/products.csv

echo "== malformed lines, year 9999, missing columns, truncated gzip, zip bomb"
run 0 run --once --project shop
says "source zipped: shop/in/zipped.json.gz: byte 12000 (content byte" out.txt
says "): the compressed data is cut short; whole records before it are used, the rest waits until the file changes" out.txt
says "source damaged: shop/in/damaged.json.gz: byte " out.txt
says "): the checksum is wrong, so that records before it may not be as they were written; whole records before it are used, the rest waits until the file changes" out.txt
says "source bomb: shop/in/bomb.json.gz: byte" out.txt
says "decompresses to more than max_decompressed_ratio times its size; raise the option if that is meant; whole records before it are used, the rest waits until the file changes" out.txt
query "SELECT reason FROM orders__dead WHERE _offset = 1" "not valid JSON at byte 48: a string without its closing quote"
query "SELECT reason FROM orders__dead WHERE _offset = 2" "not valid JSON at byte 0: an object was expected"
query "SELECT reason FROM orders__dead WHERE _offset = 3" "ts is further ahead of its arrival than max_future allows"
query "SELECT reason FROM orders__dead WHERE _offset = 4" 'column "id" is NOT NULL, but the record does not have it'
query "SELECT reason FROM orders__dead WHERE _offset = 6" "column \"v\": value 'five' is not an INTEGER"
query "SELECT count(*) FROM orders__dead" "6"
query "SELECT reason FROM sheets__dead" 'column "v" is NOT NULL, but the header has no "v"'
query "SELECT n || ' ' || v FROM good_sum" "5 15"
query "SELECT string_agg(category || ' ' || v, ', ' ORDER BY category) FROM by_category" "books 1, toys 6"
query "SELECT max(window_start) FROM by_minute" "2026-01-01 00:01:00"
query "SELECT n FROM bomb_sum" "1"
query "SELECT n FROM damaged_sum" "2000"
clean shop

echo "== a reference file that vanishes; the gzip file made whole"
rm shop/in/products.csv
echo '{"id":9,"v":9,"product_id":2,"ts":"2026-01-01 00:02:00"}' >>shop/in/orders.ndjson
cp whole.gz shop/in/zipped.json.gz
sleep 0.2
run 0 run --once --project shop
says "source products: no file fits its path in/products.csv; version 1 (2 rows) stays until it can be read" out.txt
query "SELECT string_agg(category || ' ' || v, ', ' ORDER BY category) FROM by_category" "books 1, toys 15"
query "SELECT n FROM zipped_sum" "2000"
clean shop

echo "== a reference file that cannot be right"
printf 'product_id,category\n1,books\n1,toys\n' >shop/in/products.csv
run 0 run --once --project shop
says "source products: the primary key (1) is there more than once; version 1 (2 rows) stays until it can be read" out.txt
printf 'product_id,category\n1,books\ntwo,toys\n' >shop/in/products.csv
sleep 0.2
echo '{"id":10,"v":10,"product_id":2,"ts":"2026-01-01 00:02:01"}' >>shop/in/orders.ndjson
run 0 run --once --project shop
says "source products: shop/in/products.csv: record 2: column \"product_id\": value 'two' is not an INTEGER; version 1 (2 rows) stays until it can be read" out.txt
query "SELECT string_agg(category || ' ' || v, ', ' ORDER BY category) FROM by_category" "books 1, toys 25"
clean shop

echo "== a circle; misspelt names"
cat >cycle/cycle.sql <<'SQL'
CREATE SOURCE s (id BIGINT) WITH (connector = 'file', path = 'in/*.ndjson', format = 'json');
CREATE VIEW a AS SELECT * FROM b;
CREATE VIEW b AS SELECT * FROM a;
SQL
cat >misspelt/misspelt.sql <<'SQL'
CREATE SOURCE s (id BIGINT) WITH (connector = 'file', path = 'in/*.ndjson', formt = 'json');
SET comit_interval = INTERVAL '1' SECOND;
CREATE MATERIALIZED TABLE t FRESHNES = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM s;
SQL
run 1 check --project cycle
says "cycle.sql:2:13: error: a circle: a reads b reads a" out.txt
run 1 check --project misspelt
says "misspelt.sql:1:77: error: the connector 'file' has no option 'formt'" out.txt
says "did you mean 'format'?" out.txt
says "misspelt.sql:2:5: error: there is no setting 'comit_interval'" out.txt
says "did you mean 'commit_interval'?" out.txt
says "did you mean FRESHNESS?" out.txt
run 1 run --once --project misspelt
run 2 chek
says "leat: unknown command 'chek'; did you mean 'check'?" out.txt
run 2 run --onse --project shop
says "leat run: unknown option --onse; did you mean --once?" out.txt
run 2 check --project nowhere
says "leat: there is no folder nowhere; a project is a folder of .sql files" out.txt
# A query whose functions make much out of little: stopped at its memory, and at its time, in which DuckDB does not look whether it should stop.
run 3 sql --project shop "SELECT length(repeat('x', 3000000000))"
says "Out of Memory Error" out.txt
many="list_sort(list_transform(range(8000000), x -> hash(x)))[1]"
run 3 sql --project shop --timeout '1 second' "SELECT $many, $many + 1, $many + 2, $many + 3, $many + 4, $many + 5, $many + 6, $many + 7, $many + 8 FROM range(40)"

echo "== a full disk"
mkdir -p full
if mount -t tmpfs -o size=500k none full 2>/dev/null; then
    trap 'umount "$work/full" 2>/dev/null || true' EXIT
    mkdir -p many
    cp shop/in/* many/
    for i in $(seq 6 20000); do echo "{\"id\":$i,\"v\":1,\"x\":\"$RANDOM$RANDOM\"}"; done >>many/good.ndjson
    cp shop/shop.sql full/
    ln -s "$work/many" full/in
    run 3 run --once --project full
    says "No space left on device" out.txt
    run 3 run --once --project full
    mount -o remount,size=60m full
    run 0 run --once --project full
    clean full
    "$leat" sql --project full "SELECT 'is ' || n AS answer FROM good_sum" >out.txt 2>&1
    says "is 20000" out.txt
    umount full
else
    echo "SKIPPED: a full disk needs the right to mount a small one (tests/crash fills a simulated disk instead)"
fi
echo "$checked answers checked, $failed wrong"
[ $failed = 0 ]
