#!/bin/sh
# The retail example twice over the same order lines: (a) as nightly batch, (b) with every table at one second, lines shuffled
# by up to two hours, 3 % of them delivered twice, half of them fed before and half after a product's description changes, in
# steps of at most 5000 lines. Row for row the same, nothing lost, no table recomputed whole. Usage: retail.sh LEAT FOLDER
# [real|generated]
set -eu
leat=$(readlink -f "$1") work=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
example=$root/examples/retail
tables="cleaned_lines revenue_by_day revenue_by_month top_products customers"
rm -rf "$work"
mkdir -p "$work/catalogue" "$work/nightly" "$work/stream/lines" "$work/generated"
work=$(cd "$work" && pwd)
fail() { echo "FAILED: $*"; exit 1; }

data=$root/../shared/data/online-retail
if [ "${3:-real}" = real ] && [ -d "$data" ]; then
    data=$(cd "$data" && pwd)
else
    [ "${3:-real}" = generated ] || echo "SKIPPED: the real order lines (../shared/data/online-retail) are not here; generated ones instead"
    data=$work/generated
    "$example/generate-lines" >"$data/all.csv"
    for half in 1 2; do # both with the header
        awk -v half=$half 'NR == 1 || (NR <= 10001) == (half == 1)' "$data/all.csv" >"$data/lines-$half.csv"
    done
    rm "$data/all.csv"
fi
set -- "$data"/*.csv*
files=$# first_files='' later_files='' fed=0
for file; do # no white space in these names
    fed=$((fed + 1))
    if [ $((fed * 2)) -le "$files" ]; then first_files="$first_files ${file##*/}"; else later_files="$later_files ${file##*/}"; fi
done

# The example's paths, relative to each project's folder.
export RETAIL_LINES='lines/*.csv*' RETAIL_PRODUCTS=products.csv
ln -s "$data" "$work/catalogue/lines"
ln -s "$data" "$work/nightly/lines"
cp "$example/catalogue/project.sql" "$work/catalogue/"
cp "$example/project.sql" "$work/nightly/"
sed "s/^SCHEDULE CRON.*/FRESHNESS = INTERVAL '1' SECOND/" "$example/project.sql" >"$work/stream/project.sql"
"$leat" run --once --all --project "$work/catalogue"
"$leat" sql --project "$work/catalogue" --format csv 'SELECT * FROM catalogue ORDER BY ALL' >"$work/stream/products.csv"
lines=$("$leat" sql --project "$work/catalogue" --format csv 'SELECT count(*) FROM lines' | tail -n 1)
product=$("$leat" sql --project "$work/catalogue" --format csv \
    'SELECT upper(StockCode) FROM lines GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 1' | tail -n 1)
sed "s/^$product,.*/$product,DESCRIBED ANEW/" "$work/stream/products.csv" >"$work/nightly/products.csv"
cmp -s "$work/stream/products.csv" "$work/nightly/products.csv" && fail "product $product is not in the catalogue"

echo "(a) nightly, $lines lines"
"$leat" run --once --all --final --project "$work/nightly"

# All 20 operators together, for a step of 5000 lines; recomputing each table at each step would touch ten times as many.
touched_max=200000
# Figures of one run, from its status: per table steps and rows touched, per operator rows in and out.
figures() { # figures STATUS.json
    awk '
        function text() { sub(/^[^:]*: */, ""); gsub(/[",]/, ""); return $0 }
        /^ "/ { part = $1 }
        part ~ /"tables"/ && /^   "name"/ { name = text() }
        part ~ /"tables"/ && /^   "rows_touched"/ { touched[name] = text() }
        part ~ /"tables"/ && /^   "steps"/ { steps[name] = text() }
        part ~ /"operators"/ && /^   "operator"/ { operator = text() }
        part ~ /"operators"/ && /^   "rows_in"/ { operators++; total += text() }
        part ~ /"operators"/ && /^   "keys_touched"/ { keys += text() }
        END {
            for (name in steps) { if (steps[name] > most) most = steps[name]; if (touched[name] > rows) rows = touched[name] }
            if (!most) { print "FAILED: no steps"; exit 1 }
            printf "    %d steps, %d rows touched in all: %d a step; %d operators, %d rows into them, %d keys touched\n", \
                most, rows, rows / most, operators, total, keys
            if (rows / most > '"$touched_max"') { print "FAILED: more than '"$touched_max"' rows touched a step"; exit 1 }
        }' "$1"
}
echo "(b) stream, shuffled and re-delivered: the first half"
(cd "$data" && "$leat" feed lines $first_files --project "$work/stream" --shuffle '2 hours' --redeliver 0.03 --seed 1)
"$leat" run --once --max-step-rows 5000 --json --project "$work/stream" >"$work/first.json"
figures "$work/first.json"
before=$("$leat" sql --project "$work/stream" --format csv \
    "SELECT count(*) FROM cleaned_lines WHERE stock_code = '$product' AND description <> 'DESCRIBED ANEW'" | tail -n 1)
[ "$before" -gt 0 ] || fail "no line of product $product in the first half"
echo "(b) stream: product $product is described anew ($before lines have it), then the second half"
cp "$work/nightly/products.csv" "$work/stream/products.new"
mv "$work/stream/products.new" "$work/stream/products.csv"
(cd "$data" && "$leat" feed lines $later_files --project "$work/stream" --shuffle '2 hours' --redeliver 0.03 --seed 2)
"$leat" run --once --final --max-step-rows 5000 --json --project "$work/stream" >"$work/later.json"
figures "$work/later.json"

for way in nightly stream; do
    "$leat" verify --project "$work/$way" >"$work/$way-verify.txt" || { cat "$work/$way-verify.txt"; fail "$way: verify"; }
    for table in $tables; do
        "$leat" sql --project "$work/$way" --format csv "SELECT * FROM $table ORDER BY ALL" >"$work/$way-$table.csv"
    done
done
for table in $tables; do
    cmp "$work/nightly-$table.csv" "$work/stream-$table.csv" || fail "$table differs between (a) and (b)"
    rows=$(($(wc -l <"$work/nightly-$table.csv") - 1))
    [ $rows -gt 0 ] || fail "$table is empty"
    echo "    $table: $rows rows, equal"
done
old=$("$leat" sql --project "$work/stream" --format csv \
    "SELECT count(*) FROM cleaned_lines WHERE stock_code = '$product' AND description <> 'DESCRIBED ANEW'" | tail -n 1)
[ "$old" = 0 ] || fail "$old lines of product $product keep the old description"

"$leat" status --project "$work/stream" >"$work/status.txt"
for table in $tables; do
    balance=$(grep -A1 "^table  $table " "$work/status.txt" | grep -o "lines: .*" || true)
    case $table:$balance in
    revenue_by_month:) ;; # reads another table, and no source
    *"NOT EXACT"*) fail "$table: $balance" ;;
    *": $lines in ="*) ;;
    *) fail "$table: $balance; $lines were fed" ;;
    esac
    class=$("$leat" explain "$table" --project "$work/stream" | tee "$work/explain-$table.txt" | grep -c 'class 7' || true)
    [ "$class" = 0 ] || { cat "$work/explain-$table.txt"; fail "$table is recomputed whole (class 7)"; }
done
echo "    row balance exact: $lines lines in; verify finds nothing; no table is of class 7"
