#!/bin/bash
# State of earlier versions: the folders in formats/, which each left when it was killed (formats/make), are gone on from: no record lost or twice,
# every table as DuckDB has it, sinks told what they were not told. Folders of a newer version are refused and stay as they are.
# Usage: formats.sh LEAT FOLDER
set -eu
leat=$1 work=$2
archives=$(cd "$(dirname "$0")/formats" && pwd)
rm -rf "$work"
fail() { echo "$*"; exit 1; }
# Events of the inputs and of the feed: how many, and their amounts in cents.
expected() {
    { grep -h '^{' "$1"/in/orders*.ndjson; sed -n 1,20p "$1/in/orders1.ndjson" | grep '^{'; } |
        sed 's/.*"amount":\([-0-9]*\)\.\([0-9]*\).*/\1 \2/' | awk '{n++; c += ($1 < 0 || $1 == "-0" ? $1 * 100 - $2 : $1 * 100 + $2)} END {print n "," c}'
}
for archive in "$archives"/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    dir=$work/$name
    shop=$dir/shop
    mkdir -p "$dir"
    tar -C "$dir" -xzf "$archive"
    # Unpacked files have other inodes: what was unread in them would make them other files.
    sed -i -E 's/"(inode|size_bytes|modified_us)":[0-9]+/"\1":0/g' "$shop/.leat/connector/orders/partitions.json"
    cp -rp "$shop" "$dir/lost"
    told=$(cat "$shop/told.ndjson" 2>/dev/null || true)
    for try in once again; do
        "$leat" run --once --project "$shop" >"$dir/run.log" 2>&1 || true # a sink that cannot deliver is no failure
        "$leat" verify --project "$shop" >"$dir/verify" 2>&1 || fail "$name, $try: $(cat "$dir/run.log" "$dir/verify")"
    done
    want=$(expected "$shop")
    got=$("$leat" sql --project "$shop" --format csv "SELECT sum(n), CAST(sum(amount) * 100 AS BIGINT) FROM by_product" 2>/dev/null | tail -1 | tr -d ' ')
    [ "$got" = "$want" ] || fail "$name: $got in by_product, not $want"
    "$leat" status --project "$shop" --json | tr -d ' \n' | grep -q '"exact":false' && fail "$name: the balance is not exact"
    if [ -f "$shop/sinks.sql" ]; then
        [ "${told:0:200}" = "$(head -c 200 "$shop/told.ndjson")" ] || fail "$name: told.ndjson was begun anew"
        ids=$(sed 's/.*"id":"[^"]*-\([0-9]*\)".*/\1/' "$shop/told.ndjson")
        [ "$ids" = "$(sort -nu <<<"$ids")" ] || fail "$name: sequences came again"
    fi
    # Without its work folder: from the lake alone. What had not reached bronze is in the input files, but the feed's spool is gone.
    rm -rf "$dir/lost/.leat"
    "$leat" feed --project "$dir/lost" orders <(sed -n 1,20p "$shop/in/orders1.ndjson" | sed 's/"o60/"fed/') >/dev/null 2>&1 || true
    "$leat" run --once --project "$dir/lost" >"$dir/run.log" 2>&1 || true
    "$leat" verify --project "$dir/lost" >"$dir/verify" 2>&1 || fail "$name, without .leat: $(cat "$dir/run.log" "$dir/verify")"
    # Of a newer version.
    for format in .leat/format.json lake/.format.json; do
        cp "$shop/$format" "$dir/format"
        echo '{"leat_format":99,"readable_from":98,"leat":"9.9"}' >"$shop/$format"
        before=$(cd "$shop" && find . -type f ! -name lock ! -name .lock -exec md5sum {} + | sort)
        "$leat" run --once --project "$shop" >"$dir/run.log" 2>&1 && fail "$name: a newer format was opened"
        grep -q 'written by leat 9.9 in format 99' "$dir/run.log" || fail "$name: $(cat "$dir/run.log")"
        "$leat" sql --project "$shop" "SELECT 1" >"$dir/run.log" 2>&1 && fail "$name: a newer format was read"
        [ "$before" = "$(cd "$shop" && find . -type f ! -name lock ! -name .lock -exec md5sum {} + | sort)" ] || fail "$name: a newer folder was changed"
        echo '{"leat_format":99,"readable_from":1,"leat":"9.9"}' >"$shop/$format" # one that says it can be
        "$leat" verify --project "$shop" >"$dir/verify" 2>&1 || fail "$name: $(cat "$dir/verify")"
        cmp -s "$shop/$format" "$dir/format" || fail "$name: the format's number is not ours again"
    done
    echo "$name: gone on from, with $want records and cents; also without .leat; newer ones are refused"
done
