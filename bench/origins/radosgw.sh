#!/bin/bash
# One Ceph monitor, one OSD with its data in memory, and radosgw, all on loopback: a real S3 server for a benchmark.
#
#   radosgw.sh start DIR S3_PORT MONITOR_PORT    prints "ready" when S3 answers
#   radosgw.sh stop DIR                          ends what start started, by process id
#
# Keys: $PRIMED_BENCH_ACCESS_KEY and $PRIMED_BENCH_SECRET_KEY. Needs about three times the data in memory.
# Debian: apt install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
set -euo pipefail

write_configuration() { # DIR S3_PORT MONITOR_PORT
  cat >"$1/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$3
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
# No keys: nobody else reaches these ports. Without keys the encrypted mode, which radosgw asks monitors for, would hang.
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
run dir = $1/run
admin socket = $1/run/\$name.asok
pid file = $1/run/\$name.pid
log file = $1/log/\$name.log
mon cluster log file = $1/log/cluster.log
# One copy in one place is enough for data that is made anew each time.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
[mon]
mon data = $1/mon
mon data avail crit = 1
mon data avail warn = 2
[osd]
osd data = $1/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd class load list = *
osd class default list = *
[client.rgw.bench]
rgw frontends = beast endpoint=127.0.0.1:$2
rgw enable usage log = false
rgw enable ops log = false
CONF
}

# Tries a command five times a second for at most SECONDS.
until_true() { # SECONDS COMMAND…
  local left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then
      echo "gave up waiting for: $*" >&2
      return 1
    fi
    sleep 0.2
  done
}

start() { # DIR S3_PORT MONITOR_PORT
  local dir=$1 conf="$1/ceph.conf" fsid uuid id
  mkdir -p "$dir"/{mon,osd,run,log}
  write_configuration "$dir" "$2" "$3"
  fsid=$(sed -n 's/^fsid = //p' "$conf")
  monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$3]" "$dir/monmap" >/dev/null
  ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap" --keyring /dev/null
  ceph-mon -c "$conf" -i a
  until_true 20 timeout 5 ceph -c "$conf" -s
  uuid=$(cat /proc/sys/kernel/random/uuid)
  id=$(ceph -c "$conf" osd new "$uuid")
  ceph-osd -c "$conf" -i "$id" --mkfs --osd-uuid "$uuid" >/dev/null 2>&1
  ceph-osd -c "$conf" -i "$id" >/dev/null 2>&1
  until_true 20 osd_is_up "$conf"
  radosgw -c "$conf" -n client.rgw.bench
  until_true 60 curl -sf -o /dev/null "http://127.0.0.1:$2/"
  radosgw-admin -c "$conf" user create --uid=bench --display-name=bench \
    --access-key="$PRIMED_BENCH_ACCESS_KEY" --secret="$PRIMED_BENCH_SECRET_KEY" >/dev/null
  echo ready
}

osd_is_up() { ceph -c "$1" osd stat | grep -q '1 up'; }

stop() { # DIR
  local file pid
  # radosgw first, so that it does not wait for an OSD that has gone.
  for file in "$1"/run/client*.pid "$1"/run/osd*.pid "$1"/run/mon*.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    until_true 20 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
  done
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

case ${1:-} in
  start) start "${2:?a folder}" "${3:?a port for S3}" "${4:?a port for the monitor}" ;;
  stop) stop "${2:?a folder}" ;;
  *)
    sed -n 2,8p "$0"
    exit 2
    ;;
esac
