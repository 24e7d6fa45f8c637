#!/bin/bash
# What the program says to somebody who does not know it: a wrong command, option, file or query gets a plain message, the nearest right one
# and the exit code that --help names; queries also come by a pipe. Usage: words.sh LEAT FOLDER
set -eu
leat=$(readlink -f "$1") work=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks"
rm -rf "$work"
mkdir -p "$work/empty"
cd "$work"
answers() { # answers EXIT TEXT COMMAND...
    local want=$1 text=$2
    shift 2
    run "$want" "$@"
    says "$text" out.txt
}

echo "== commands and options"
answers 2 "unknown command 'chek'; did you mean 'check'?" chek
answers 0 "Usage: leat run [options]" help run
answers 2 "unknown option --onec; did you mean --once?" run --onec
answers 2 "'abc' is not a whole number" run --max-step-rows abc
answers 2 "there is no folder /nope" run --project /nope
answers 2 "one argument too many, 'more'" run more
answers 2 "no connector 'kafak'; did you mean 'kafka'?" connectors kafak
answers 1 "'leat new FOLDER SAMPLE' makes one" check --project empty

echo "== new"
answers 2 "there is no file nope.csv" new shop nope.csv
answers 2 "empty is a folder" new shop empty
printf '[{"id":1},{"id":2}]\n' >array.json
answers 2 "it holds arrays" new shop array.json
printf '\xef\xbb\xbfid;Name;price;when\n1;"a; b";3,50;31.12.2025 10:00\n2;"line\nbreak";4,00;01.01.2026 11:30\n3;;;\n' >odd.csv
run 0 new shop odd.csv
run 0 run --once --all --project shop
run 0 sql --project shop --format csv "SELECT id, name FROM odd ORDER BY id"
says '2,"line' out.txt
says '1,a; b' out.txt

echo "== sql"
cd shop
answers 3 'Did you mean "odd' sql "SELECT * FROM od"
answers 2 "the query is empty" sql ""
answers 2 "only reads" sql "INSERT INTO odd VALUES (1)"
answers 2 "only reads" sql "/* x */ drop table odd"
answers 2 "ALTER MATERIALIZED TABLE name REFRESH" sql "REFRESH MATERIALIZED VIEW odd_summary"
answers 2 "SHOW TABLES lists" sql '\dt'
answers 2 "SHOW TABLES lists" sql '.tables'
answers 2 "leat explain TABLE" sql "EXPLAIN SELECT 1"
answers 2 "'xml' is not known; write 'table', 'csv' or 'json'" sql --format xml "SELECT 1"
answers 0 "(1 row)" sql "-- how many
SELECT count(*) FROM odd;"
printf -- "-- two of them\nSELECT count(*) AS n FROM odd;\nSELECT 'a;b' AS text;\n" >../two
run 0 sql --format csv <../two
check "two statements by a pipe" 'n 3  text a;b ' "$(tr '\n' ' ' <out.txt)"
echo "SELECT 7 AS n" >../one
run 0 sql --format csv - <../one
check "by -" 'n 7 ' "$(tr '\n' ' ' <out.txt)"
printf "SELECT 1; DELETE FROM odd" >../two
run 2 sql <../two
check "nothing is run where one is no query" 0 "$(grep -c row out.txt)"
run 3 sql "SELECT 'no end"

echo "== nothing is not equal"
cd ..
printf "id,at\n1,2026-01-01 10:00:00\n" >one.csv
run 0 new times one.csv
mkdir changed
cp times/project.sql changed/
answers 2 "bronze holds no record" rehearse --current times --project changed
run 0 run --once --all --project times
answers 2 "no record came between --from and --to" rehearse --current times --project changed --from 2020-01-01 --to 2020-01-02

echo "$checked checks, $failed failed"
[ "$failed" = 0 ]
