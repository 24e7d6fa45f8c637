#!/bin/bash
# docs/tutorial.md word for word in an empty folder: every command must work, every output shown must be what comes (but for
# sizes in bytes and distances in time). Usage: tutorial.sh LEAT FOLDER
set -eu
leat=$(readlink -f "$1") work=$2
tutorial=$(cd "$(dirname "$0")/../.." && pwd)/docs/tutorial.md
rm -rf "$work"
mkdir -p "$work/bin" "$work/new"
work=$(cd "$work" && pwd)
ln -s "$leat" "$work/bin/leat"
PATH=$work/bin:$PATH
cd "$work/new"

plain() {
    sed -e 's/[0-9]* bytes/N bytes/' -e 's/next in .*/next in TIME/' -e 's/last .* ago/last TIME ago/' -e 's/raised .* ago/raised TIME ago/' -e 's/ *$//'
}
commands=0 failed=0 command='' shown=''
finish() { # runs the command that has been read, compares with what was shown below it
    [ -n "$command" ] || return 0
    local code=0
    commands=$((commands + 1))
    eval "$command" >"$work/out" 2>&1 || code=$? # in this shell: it may be a cd
    plain <"$work/out" >"$work/came"
    printf %s "$shown" | plain >"$work/shown"
    if [ $code != 0 ] || { [ -n "$shown" ] && ! cmp -s "$work/shown" "$work/came"; }; then
        failed=$((failed + 1))
        echo "FAILED, exit code $code: $command"
        diff "$work/shown" "$work/came" || true
    fi
    command='' shown=''
}
block=''
while IFS= read -r line; do
    case $block,$line in
    ,'```sql') block=sql ;;
    ,'```') block=shell ;;
    *,'```')
        finish
        block=''
        ;;
    sql,*) printf '%s\n' "$line" >>shop/shop.sql ;;
    shell,'$ '*)
        finish
        command=${line#'$ '}
        ;;
    shell,*) shown=$shown$line$'\n' ;;
    esac
done <"$tutorial"
echo "$commands commands, $failed wrong"
[ $commands -ge 12 ] && [ $failed = 0 ]
