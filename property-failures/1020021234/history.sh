#!/bin/sh
# Plays the rounds into this project: history.sh LEAT. What property does beyond it is said in comments.
# A command that fails (a table held back, say) is part of it: the next ones run.
leat=$(realpath "$1")
cd "$(dirname "$0")"
rm -rf in lake .leat
mkdir in
cp rounds/0.project project.sql
# round 0
cat rounds/0.ndjson >>in/events.ndjson
cp rounds/0.csv in/things.new; mv in/things.new in/things.csv
"$leat" run --once --project . --max-step-rows 5
"$leat" verify --project .
sleep 1
"$leat" restate --project .
"$leat" verify --project .
"$leat" run --once --project .
"$leat" verify --project .
