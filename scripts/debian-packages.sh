#!/bin/sh
# Installs the given Debian packages whose commands are missing:
#
#   scripts/debian-packages.sh prosody redis-server gcc
#
# Silent when nothing is missing. Otherwise it needs root or sudo without a
# password; without either it stops with the one line to type. The daemons that
# a package brings are installed but not started (systemd will at the next boot).
set -eu

policy=/usr/sbin/policy-rc.d # invoke-rc.d(8) asks it before it starts a daemon

# present tells whether everything that we need of a package is there.
present() {
	case $1 in
	# gcc alone only recommends the headers that the race detector's cgo needs.
	gcc) command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ] ;;
	nodejs) command -v node >/dev/null ;;
	# Debian's own Python finds it, whichever comes first in PATH.
	python3-*) /usr/bin/python3 -c "import ${1#python3-}" 2>/dev/null ;;
	systemd) command -v systemd-analyze >/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=
for package in "$@"; do
	present "$package" && continue
	case $package in
	gcc) missing="$missing gcc libc6-dev" ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

line="sudo apt-get install -y$missing"
if ! command -v apt-get >/dev/null; then
	echo "missing:$missing; on Debian: $line" >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	as_root() { "$@"; }
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as_root() { sudo -n "$@"; }
else
	echo "missing:$missing; type: $line" >&2
	exit 1
fi
echo "installing:$missing" >&2

# While a policy is there that is not ours, it decides.
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
	trap 'as_root rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	# 101: the action is forbidden.
	printf '#!/bin/sh\nexit 101\n' | as_root sh -c "cat >$policy && chmod 755 $policy"
fi

# The package lists may be absent (fresh container) or too old to download from.
install() {
	# shellcheck disable=SC2086 # a list of words
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends \
		-o DPkg::Lock::Timeout=60 $missing >&2 # seconds: apt may be busy with updates
}
if ! install; then
	as_root apt-get update -q >&2
	install
fi
