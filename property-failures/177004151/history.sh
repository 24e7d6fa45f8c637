#!/bin/sh
# Plays the rounds into this project: history.sh LEAT. What property does beyond it is said in comments.
set -e
leat=$(realpath "$1")
cd "$(dirname "$0")"
rm -rf in lake .leat
mkdir in
cp rounds/0.project project.sql
# round 0
cat rounds/0.ndjson >>in/events.ndjson
cp rounds/0.csv in/things.new; mv in/things.new in/things.csv
# property stops after 18 steps
"$leat" run --once --project . --max-step-rows 18
"$leat" verify --project .
sleep 1
# round 1
cat rounds/1.ndjson >>in/events.ndjson
# property stops after 24 steps
"$leat" run --once --project . --max-step-rows 24
"$leat" verify --project .
sleep 1
# round 2, then a checkpoint
cat rounds/2.ndjson >>in/events.ndjson
"$leat" run --once --project . --max-step-rows 15
"$leat" verify --project .
sleep 1
# round 3, the process restarts first
cat rounds/3.ndjson >>in/events.ndjson
# property stops after 1000000 steps
"$leat" run --once --project . --max-step-rows 1000000
"$leat" verify --project .
sleep 1
# round 4
cat rounds/4.ndjson >>in/events.ndjson
"$leat" run --once --project . --max-step-rows 15
"$leat" verify --project .
sleep 1
# round 5
cat rounds/5.ndjson >>in/events.ndjson
cp rounds/5.csv in/things.new; mv in/things.new in/things.csv
"$leat" run --once --project . --max-step-rows 1
"$leat" verify --project .
sleep 1
"$leat" run --once --project . --final
"$leat" verify --project .
