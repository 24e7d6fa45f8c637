#!/bin/bash
# The .deb in a Debian that has nothing else: installed with what it depends on, used by an ordinary user, removed without a trace.
# Usage: packages.sh DEB FOLDER [RELEASE]     exit code 77: this machine cannot (no root, no debootstrap, no mirror)
set -eu -o pipefail
deb=$1 work=$2 release=${3:-bookworm}
root=$work/root
skip() { echo "SKIPPED: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "a root folder for Debian takes root"
command -v debootstrap >/dev/null 2>&1 || skip "no debootstrap here: apt-get install debootstrap"
mkdir -p "$work"
debootstrap --variant=minbase "$release" "$root" >"$work/debootstrap.log" 2>&1 || skip "debootstrap: $(tail -n 1 "$work/debootstrap.log")"
trap 'rm -rf --one-file-system "$root"' EXIT
cp "$deb" "$root/tmp/leat.deb"
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends /tmp/leat.deb man-db >"$work/install.log" 2>&1 ||
    { tail -n 20 "$work/install.log"; exit 1; }
cat >"$root/tmp/try" <<'TRY'
set -eu
mount -t proc proc /proc
if command -v gcc; then exit 1; fi
useradd --create-home someone
cat >/home/someone/try <<'USER'
set -eu
cd
leat --version
printf 'id,at,amount\n1,2026-01-01 10:00:00,3.50\n2,2026-01-01 10:05:00,4.00\n' >sales.csv
leat new shop sales.csv
cd shop
leat check
leat run --once --all
test "$(leat sql --format csv 'SELECT count(*) FROM sales' | tail -n 1)" = 2
leat verify
man leat | grep -q 'leat - SQL tables'
man leat-settings | grep -q commit_interval
USER
su someone -c 'sh ~/try'
for unit in leat@.service leat-once@.service leat-once@.timer; do test -s /lib/systemd/system/$unit; done
bash -c '. /usr/share/bash-completion/completions/leat; complete -p leat'
test -s /usr/share/zsh/vendor-completions/_leat
test -s /usr/share/fish/vendor_completions.d/leat.fish
test -s /usr/share/leat/grafana/leat.json
dpkg --verify leat
dpkg --list leat | tail -n 1
dpkg --listfiles leat >/tmp/files
dpkg --purge leat
while read -r path; do # folders that other packages have stay
    if test -f "$path"; then echo "left behind: $path"; exit 1; fi
done </tmp/files
if ls -d /usr/lib/leat /usr/share/leat /usr/share/doc/leat 2>/dev/null; then exit 1; fi
echo "installed, used and removed in Debian $(cat /etc/debian_version)"
TRY
unshare --mount --pid --fork chroot "$root" sh /tmp/try
