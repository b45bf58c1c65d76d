#!/usr/bin/env bash
# prove-units.sh ROOT FOLDER: starts the systemd of a Debian root in which the package is installed, with no network but its
# own loopback, and lets it run both units: what only a real systemd shows. Part of prove-package.sh.
set -euo pipefail
root=$1 folder=$2

say() { printf '%s\n' "-- $*"; }
fail() {
  echo "$*"
  booted journalctl --no-pager -o cat -n 40 -u primed-worker -u primed-coordinator || tail -n 20 "$folder/boot.log"
  exit 1
}
is() { [ "$2" = "$3" ] || fail "$1: expected '$3', found '$2'"; }
leader=
booted() { nsenter -t "$leader" -m -u -i -n -p -C -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
of() { booted systemctl show "primed-$1" -p "$2" --value; }
logged() { booted journalctl --no-pager -o cat -u "primed-$1" --since "@$since"; }
# until WHAT COMMAND...: for a minute
until_true() {
  local what=$1 left=300
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || fail "not within a minute: $what"
    sleep 0.2
  done
}

nspawn=
halt() {
  [ -z "$nspawn" ] || kill -TERM "$nspawn" 2>/dev/null || return 0
  wait "$nspawn" || true
}
trap halt EXIT

say 'a systemd of its own'
systemd-nspawn --boot --directory "$root" --machine primed-proof --register=no --keep-unit --private-network \
  --console=read-only </dev/null >"$folder/boot.log" 2>&1 &
nspawn=$!
has_leader() { leader=$(pgrep -P "$nspawn" -x systemd | head -n 1) && [ -n "$leader" ]; }
until_true 'the first process' has_leader
is_up() { booted systemctl is-active --quiet multi-user.target 2>/dev/null; }
until_true 'multi-user.target' is_up
since=$(date +%s)

configure() { cat >"$root/etc/primed/primed.toml"; }
say 'a configuration that cannot work: exit code 78, and no further try'
configure <<'TOML'
data_dir = "/var/lib/primed"
insecure = true
nonsense = 1
TOML
! booted systemctl start primed-worker 2>/dev/null || fail 'it has started'
is 'exit code' "$(of worker ExecMainStatus)" 78
is 'tries' "$(of worker NRestarts)" 0
logged worker | grep 'primed.toml:3: nonsense' >/dev/null || fail 'the journal does not name the line'
booted systemctl reset-failed primed-worker

say 'both daemons start, are ready, and load'
good='data_dir = "/var/lib/primed"
insecure = true
[[worker.store]]
dir = "/var/lib/primed/store"
size = "256MB"
[cluster]
coordinator = "http://127.0.0.1:19999"
[[ufs]]
prefix = "file:///srv/data"
[log]
level = "info"'
configure <<<"$good"
mkdir "$root/srv/data"
head -c 20000001 /dev/urandom >"$root/srv/data/file"
chmod -R a+rX "$root/srv/data"
booted systemctl start primed-coordinator primed-worker || fail 'they do not start'
has_worker() { booted primed worker list --format json 2>/dev/null | grep '"LIVE"' >/dev/null; }
until_true 'the worker is a member' has_worker
booted primed job load --replicas 1 file:///srv/data/ | grep 'Job State: SUCCEEDED' >/dev/null || fail 'the load has failed'
in_origin=$(sha256sum <"$root/srv/data/file")
is 'bytes read back' "$(booted primed fs cat file:///srv/data/file | sha256sum)" "$in_origin"
status_tells() { [[ $(of worker StatusText) == *'19.'*' in use' ]]; }
until_true 'the status text tells what is in use' status_tells

say 'reload: what is wrong is refused and told, what is right is taken'
configure <<<"$good
nonsense = 1"
worker=$(of worker MainPID)
! booted systemctl reload primed-worker 2>/dev/null || fail 'a configuration that cannot work was taken'
is 'process after a refused reload' "$(of worker MainPID)" "$worker"
configure <<<"${good/info/debug}"
booted systemctl reload primed-worker primed-coordinator || fail 'it was refused'
takes() { logged "$1" | grep '"changed":\["log.level"\]' >/dev/null; }
until_true 'the worker has taken it' takes worker
until_true 'the coordinator has taken it' takes coordinator
is 'process after a reload' "$(of worker MainPID)" "$worker"

say 'the watchdog ends a worker that hangs, and it comes back with what it had'
mkdir -p "$root/etc/systemd/system/primed-worker.service.d"
printf '[Service]\nWatchdogSec=10\n' >"$root/etc/systemd/system/primed-worker.service.d/watchdog.conf"
booted systemctl daemon-reload
booted systemctl restart primed-worker || fail 'it does not start again'
worker=$(of worker MainPID)
sleep 12
is 'process of a worker that does not hang, after more than the watchdog allows' "$(of worker MainPID)" "$worker"
booted sh -c "kill -STOP $worker"
is_back() { [ "$(of worker NRestarts)" = 1 ] && [ "$(of worker ActiveState)" = active ]; }
until_true 'the worker is back' is_back
logged worker | grep 'Watchdog timeout' >/dev/null || fail 'it was not the watchdog that ended it'
mv "$root/srv/data/file" "$root/srv/data/gone"
until_true 'the worker is a member again' has_worker
is 'bytes read back after the watchdog' "$(booted primed fs cat file:///srv/data/file | sha256sum)" "$in_origin"

say 'a token that only root may read'
printf 'a-token-of-the-proof' >"$root/etc/primed/api-token"
chmod 600 "$root/etc/primed/api-token"
chown 0:0 "$root/etc/primed/api-token"
for unit in worker coordinator; do
  mkdir -p "$root/etc/systemd/system/primed-$unit.service.d"
  printf '[Service]\nLoadCredential=api-token:/etc/primed/api-token\n' \
    >"$root/etc/systemd/system/primed-$unit.service.d/token.conf"
done
configure <<<"${good/insecure = true/api_token_file = \"api-token\"}"
booted systemctl daemon-reload
booted systemctl restart primed-coordinator primed-worker || fail 'they do not start again'
! booted primed job list >/dev/null 2>&1 || fail 'it answers without the token'
booted env PRIMED_API_TOKEN=a-token-of-the-proof primed job list | grep 'file:///srv/data/' >/dev/null || fail 'the job is not listed'
since=$(date +%s)
good=${good/insecure = true/api_token_file = \"api-token\"}
configure <<<"${good/info/debug}"
booted systemctl reload primed-worker primed-coordinator || fail 'a reload beside a credential was refused'
until_true 'the worker has taken it' takes worker
until_true 'the coordinator has taken it' takes coordinator

say 'both end in time'
booted systemctl stop primed-worker primed-coordinator
for unit in worker coordinator; do is "how the $unit ended" "$(of $unit Result)" success; done
rm -rf "$root/etc/systemd/system/"primed-*.d "$root/srv/data"
