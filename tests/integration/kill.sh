#!/bin/bash
# Kills the real program with SIGKILL again and again in the midst of work, then compares every table with DuckDB and the
# row balance with the number of records. A kill comes only after its process has done something since it started (a step
# journaled, a commit, a checkpoint: by turns), a random moment later. Usage: kill.sh LEAT FOLDER KILLS [SEED]
set -eu
leat=$1 work=$2 kills=$3 seed=${4:-42}
here=$(cd "$(dirname "$0")" && pwd)
shop=$work/shop
rm -rf "$work"
mkdir -p "$work/data" "$shop/in"
"$leat" generate --out "$work/data" --seed 11 --events $((kills * 1200)) --rate 50 --late 20 --duplicates 30 --malformed 10
cp "$work/data/products.csv" "$shop/in/products.csv"
# Short intervals, small segments and steps: commits, checkpoints, trims and compactions all the time.
{
    echo "SET checkpoint_records = 700; SET commit_interval = INTERVAL '100' MILLISECOND;"
    echo "SET bronze_interval = INTERVAL '150' MILLISECOND; SET compact_files = 4; SET segment_size = '1 MiB';"
    sed -e "s/INTERVAL '1' SECOND/INTERVAL '100' MILLISECOND/" -e "s/INTERVAL '2' SECOND/INTERVAL '200' MILLISECOND/" "$here/shop.sql"
} >"$shop/shop.sql"
lines=$(wc -l <"$work/data/order_events.ndjson")
per_kill=12
split -l $((lines / (kills * per_kill) + 1)) -d -a 6 "$work/data/order_events.ndjson" "$work/data/part"
: >"$shop/in/order_events.ndjson"

# Data comes in while leat runs, cut in the midst of lines; the reference is replaced by rename.
parts=("$work"/data/part*)
fed=0
feed() { # feed FROM COUNT: some parts, a moment between them
    local n part
    for ((n = $1; n < $1 + $2 && n < ${#parts[@]}; n++)); do
        part=${parts[$n]}
        head -c 3000 "$part" >>"$shop/in/order_events.ndjson"
        pause 0.02
        tail -c +3001 "$part" >>"$shop/in/order_events.ndjson"
        if [ $((n % 40)) = 20 ]; then
            awk -F, -v OFS=, -v n="$n" 'NR > 1 && NR % 7 == int(n / 40) % 7 { $3 = "moved-" n } 1' "$shop/in/products.csv" >"$work/products.new"
            mv "$work/products.new" "$shop/in/products.csv"
        fi
        pause 0.05
    done
}
pause() { # seconds, without a process of its own
    read -r -t "$1" <>"$work/never" || true
}
mkfifo "$work/never"

shopt -s nullglob
highest() { # highest N "n":N in the journal: the last step
    cat "$shop"/.leat/journal/* 2>/dev/null | grep -ao '"n":[0-9]*' | sed 's/.*://' | sort -n | tail -1
}
commits() {
    set -- "$shop"/lake/*/_delta_log/*.json "$shop"/lake/*/*/_delta_log/*.json
    count=$#
}
checkpoints() {
    newest=0
    local dir
    for dir in "$shop"/.leat/checkpoint/[0-9]*; do
        [ -e "$dir/manifest.json" ] && [ "${dir##*/}" -gt "$newest" ] && newest=${dir##*/}
    done
    return 0
}
journaled() { # has a step been journaled since the marker? (An opening writes the file anew.)
    local file step
    for file in "$shop"/.leat/journal/*; do
        [ "$file" -nt "$work/marker" ] || continue
        step=$(highest)
        [ "${step:-0}" -gt "$step_before" ] && return 0
    done
    return 1
}
RANDOM=$seed
killed=0 total_commits=0 total_checkpoints=0 first_step=0 idle=0
while [ $killed -lt "$kills" ]; do
    commits; before=$count
    checkpoints; checkpoint_before=$newest
    step_before=$(highest)
    step_before=${step_before:-0}
    : >"$work/marker"
    "$leat" run --project "$shop" --max-step-rows 150 2>>"$work/log.txt" &
    pid=$!
    feed $fed $per_kill &
    feeding=$!
    fed=$((fed + per_kill))
    goal=$((RANDOM % 4)) waited=0 first=0
    while kill -0 $pid 2>/dev/null && [ $waited -lt 12000 ]; do
        pause 0.01
        waited=$((waited + 1))
        # No such thing was due: what is long, the first step says, for a slow machine takes long for that too.
        [ $first = 0 ] && journaled && first=$waited
        [ $first -gt 0 ] && [ $waited -gt $((250 + 3 * first)) ] && break
        case $goal in
        0) [ $first -gt 0 ] && break ;;
        1) commits; [ "$count" -gt "$before" ] && break ;;
        2) commits; [ "$count" -gt $((before + 6)) ] && break ;;
        3) checkpoints; [ "$newest" != "$checkpoint_before" ] && break ;;
        esac
    done
    kill -0 $pid 2>/dev/null || { echo "FAILED: leat ended by itself"; tail -5 "$work/log.txt"; exit 1; }
    printf -v delay '0.%03d' $((RANDOM % 400))
    pause "$delay"
    kill -9 $pid
    wait $pid 2>/dev/null || true
    wait $feeding
    killed=$((killed + 1))
    commits; total_commits=$((total_commits + count - before))
    [ "$count" = "$before" ] && idle=$((idle + 1))
    checkpoints
    [ "$newest" != "$checkpoint_before" ] && total_checkpoints=$((total_checkpoints + 1))
done
steps=$(highest)
compactions=$(cat "$shop"/lake/*/_delta_log/*.json "$shop"/lake/*/*/_delta_log/*.json | grep -c '"operation":"OPTIMIZE"' || true)
feed $fed ${#parts[@]}
"$leat" run --once --all --final --project "$shop"
"$leat" verify --project "$shop" || { echo "FAILED: tables differ after $killed kills"; exit 1; }
"$leat" status --project "$shop" >"$work/status.txt"
cat "$work/status.txt"
if grep -q 'NOT EXACT' "$work/status.txt"; then echo "FAILED: row balance"; exit 1; fi
for table in order_status silver_orders revenue_by_minute; do
    grep -A1 "^table  $table " "$work/status.txt" | grep -q "order_events: $lines in" ||
        { echo "FAILED: $table did not see $lines records"; exit 1; }
done
echo "between the kills: $steps steps, $total_commits commits, $compactions compactions, $total_checkpoints processes that took a checkpoint; $idle kills before a commit"
if [ "${steps:-0}" = 0 ] || [ $total_commits = 0 ] || [ $total_checkpoints = 0 ] || [ $((idle * 2)) -gt $killed ]; then
    echo "FAILED: the kills did not hit work"; exit 1
fi
echo "$killed kills: contents equal, row balance exact"
