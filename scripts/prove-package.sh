#!/usr/bin/env bash
# Proves the Debian package in a clean root of this machine's Debian release: install, run by hand and by the root's own
# systemd, remove, install again, purge. Needs root, debootstrap, zsh, fish, and systemd-nspawn, which starts the root's
# systemd as the first process of a name space. The root is made anew each time, below the folder named as first argument
# (default: a temporary one).
set -euo pipefail
cd "$(dirname "$0")/.."

base=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/primed-package-XXXXXX")
root=$base/root
# Whatever is mounted is mounted in a name space of its own, and goes with it.
if [ "${PRIMED_PROOF_INSIDE:-}" != 1 ]; then
  rm -rf "$base"
  PRIMED_PROOF_INSIDE=1 exec unshare --mount --mount-proc --pid --fork --kill-child "$0" "$@"
fi
trap 'umount -R "$root/proc" "$root/dev" 2>/dev/null || true; rm -rf --one-file-system "$base"' EXIT

say() { printf '%s\n' "-- $*"; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
is() { [ "$2" = "$3" ] || { echo "$1: expected '$3', found '$2'"; exit 1; }; }

[ -f dist-packages/primed_*.deb ] || npm run --silent package
package=$(ls dist-packages/primed_*.deb)

say 'a clean root'
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$release" "$root" "$mirror" >"$base/debootstrap.log" 2>&1 || { tail -5 "$base/debootstrap.log"; exit 1; }
mount_kernel() {
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"
}
mount_kernel
cp "$package" "$root/tmp/primed.deb"
inside apt-get -qq update

say 'install'
inside apt-get -qq -y install /tmp/primed.deb >/dev/null
is 'user' "$(inside id -un primed)" primed
is 'data folder' "$(inside stat -c '%U %a' /var/lib/primed)" 'primed 700'
is 'configuration' "$(inside stat -c '%G %a' /etc/primed/primed.toml)" 'primed 640'
for unit in primed-worker primed-coordinator; do
  [ -f "$root/lib/systemd/system/$unit.service" ] || { echo "no unit $unit"; exit 1; }
done
inside primed version
for file in primed/prometheus/primed.rules.yml primed/grafana/primed.json doc/primed/MONITORING.md man/man1/primed.1.gz \
  bash-completion/completions/primed zsh/vendor-completions/_primed fish/vendor_completions.d/primed.fish; do
  [ -s "$root/usr/share/$file" ] || { echo "no $file"; exit 1; }
done
# Debian's shells, as they are here, look there.
zsh -f -c 'print -l $fpath' | grep -qx /usr/share/zsh/vendor-completions
HOME=$base fish --private -c 'string join \n $fish_complete_path' | grep -qx /usr/share/fish/vendor_completions.d

say 'the files of the console are in it'
for file in index.html app.js style.css icon.svg; do
  [ -s "$root/usr/lib/primed/dist/console/$file" ] || { echo "console: $file is not in the package"; exit 1; }
done

say 'run: the demo, by the user of the daemons'
inside setpriv --reuid primed --regid primed --clear-groups primed demo --size 64MB --data /var/lib/primed | tail -n 20

umount -R "$root/proc" "$root/dev"
scripts/prove-units.sh "$root" "$base"
mount_kernel

say 'removal keeps data and configuration'
inside touch /var/lib/primed/kept
inside apt-get -qq -y remove primed >/dev/null
[ ! -e "$root/usr/bin/primed" ] && [ -e "$root/var/lib/primed/kept" ] && [ -e "$root/etc/primed/primed.toml" ]

say 'installed again, it finds them; purge asks nothing and removes them'
inside apt-get -qq -y install /tmp/primed.deb >/dev/null
[ -e "$root/var/lib/primed/kept" ]
inside apt-get -qq -y purge primed >/dev/null </dev/null
for path in /var/lib/primed /etc/primed /etc/default/primed /usr/lib/primed; do
  [ ! -e "$root$path" ] || { echo "$path is still there after purge"; exit 1; }
done
! inside getent passwd primed >/dev/null || { echo 'the user is still there after purge'; exit 1; }

say 'the tarball runs where it is unpacked'
mkdir "$root/opt/t" && tar -xzf dist-packages/primed-*.tar.gz -C "$root/opt/t" --strip-components=1
inside /opt/t/bin/primed version
say 'all of it holds'
