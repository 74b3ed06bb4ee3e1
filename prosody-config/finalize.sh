#!/bin/sh
# Jibri's finalize script for hosts without the program usher, where the files
# stay in Jibri's directory and usher sees that too (handover "shared"):
#
#   finalize.sh SESSION_DIRECTORY
#
# It answers at once and goes on by itself: tells usher that the recording is
# over, then which files it has. It tries for a day, but unlike `usher finalize`
# it keeps no spool: a reboot ends it.
#
# It needs openssl, and curl or GNU wget. Settings come from the environment or
# from usher-finalize.env beside this script, lines such as USHER_URL=…:
#
#   USHER_URL              where usher's API is, such as http://usher.internal:8480
#   USHER_RECORDER         name of this recorder (default: the host's)
#   USHER_RECORDER_SECRET  what usher has under that name; or the file that
#                          USHER_RECORDER_SECRET_FILE names
#   USHER_FINALIZE_LOG     default usher-finalize.log beside the session
#                          directory, where Jibri's user alone writes
set -u
umask 077
LC_ALL=C # bytes, not characters
export LC_ALL

call_timeout=10  # seconds; usher answers in milliseconds, or while it takes over
first_wait=1     # seconds before the second try, doubled each time up to
max_wait=60      # seconds
give_up=86400    # seconds of trying one call: a day
look_interval=1  # seconds between two looks at a file that may still grow
missing_looks=60 # looks at a directory that has no file: a minute
grow_looks=600   # looks at files that still grow: ten minutes

env_file=$(dirname -- "$0")/usher-finalize.env
if [ -r "$env_file" ]; then
	# shellcheck source=/dev/null
	. "$env_file"
fi
recorder=${USHER_RECORDER:-$(uname -n)}
secret=${USHER_RECORDER_SECRET:-}
if [ -z "$secret" ] && [ -n "${USHER_RECORDER_SECRET_FILE:-}" ]; then
	secret=$(cat -- "$USHER_RECORDER_SECRET_FILE")
fi

fail() {
	echo "finalize.sh: $*" >&2
	exit 1
}

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $session: $*"; }

# pad writes the key, filled up to a block of 64 bytes, each XORed with $1
# (RFC 2104, section 2).
pad() {
	left=64
	for byte in $key; do
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\$(printf %03o $((byte ^ $1)))"
		left=$((left - 1))
	done
	while [ $left -gt 0 ]; do
		# shellcheck disable=SC2059
		printf "\\$(printf %03o "$1")"
		left=$((left - 1))
	done
}

# sign prints the HMAC-SHA256 of recorder, time $1 and body. openssl can make
# one, but only of a key on its command line, where everybody on the host can
# read it.
sign() {
	{ pad 54 && printf '%s\n%s\n' "$recorder" "$1" && cat "$body"; } |
		openssl dgst -sha256 -binary |
		{ pad 92 && cat; } |
		openssl dgst -sha256 -r | cut -c1-64
}

# post sends the body once and prints the status, or nothing.
post() {
	now=$(date +%s)
	signature=$(sign "$now")
	url=${USHER_URL%/}/internal/jibri/recordings
	if command -v curl >/dev/null; then
		curl -sS -m "$call_timeout" -o /dev/null -w '%{http_code}' --data-binary "@$body" \
			-H "Content-Type: application/json" -H "X-Usher-Recorder: $recorder" \
			-H "X-Usher-Timestamp: $now" -H "X-Usher-Signature: $signature" -- "$url"
	else
		wget -S -t 1 -T "$call_timeout" --max-redirect=0 -O /dev/null --post-file="$body" \
			--header="Content-Type: application/json" --header="X-Usher-Recorder: $recorder" \
			--header="X-Usher-Timestamp: $now" --header="X-Usher-Signature: $signature" -- "$url" 2>&1 |
			sed -n 's/^ *HTTP\/[0-9.]* \([0-9]*\).*/\1/p' | tail -n 1
	fi
}

# tell sends the body until usher takes it; it fails when usher never will.
tell() {
	wait=$first_wait
	end=$(($(date +%s) + give_up))
	while :; do
		status=$(post)
		case $status in
		200 | 204) return 0 ;;
		404 | 409 | 410 | 422)
			say "usher does not want it: status $status"
			return 1
			;;
		esac
		if [ "$(date +%s)" -ge "$end" ]; then
			say "given up: status ${status:-none}"
			return 1
		fi
		say "status ${status:-none}, will try again in $wait s"
		sleep "$wait"
		wait=$((wait * 2))
		[ $wait -le $max_wait ] || wait=$max_wait
	done
}

# sizes prints the files to hand over, with their sizes.
sizes() {
	for file in "$dir"/*.mp4 "$dir"/*.mkv "$dir"/*.webm; do
		case $file in *[[:cntrl:]]*) continue ;; esac
		if [ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ]; then
			printf '%s %s\n' "$(($(wc -c <"$file")))" "$file"
		fi
	done
}

# nanoseconds prints how long a file plays, 0 if nobody knows.
nanoseconds() {
	seconds=
	if command -v ffprobe >/dev/null; then
		seconds=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$1" </dev/null)
	fi
	case $seconds in
	'' | *[!0-9.]* | *.*.*) echo 0 ;;
	*) awk "BEGIN { printf \"%.0f\", $seconds * 1e9 }" ;;
	esac
}

# describe prints the files as JSON.
describe() {
	comma=
	while read -r size file; do
		name=$(printf '%s' "${file##*/}" | sed 's/[\\"]/\\&/g')
		sum=$(openssl dgst -sha256 -r <"$file" | cut -c1-64)
		printf '%s{"name":"%s","dir":"%s","storage":"file","path":"%s/%s","size":%s,"sha256":"%s","duration":%s,"recorder":"%s","stored_at":"%s"}' \
			"$comma" "$name" "$session" "$session" "$name" "$size" "$sum" "$(nanoseconds "$file")" "$recorder" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
		comma=,
	done
}

hand_over() {
	tmp=$(mktemp -d) || fail "no temporary directory"
	trap 'rm -rf -- "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	body=$tmp/body
	key=$(printf '%s' "$secret" | od -An -v -tu1)
	if [ ${#secret} -gt 64 ]; then
		key=$(printf '%s' "$secret" | openssl dgst -sha256 -binary | od -An -v -tu1)
	fi
	printf '{"phase":"closed","jibri_session_id":"%s"}' "$session" >"$body"
	tell || return 1

	looks=0
	sizes >"$tmp/before"
	while :; do
		sleep "$look_interval"
		sizes >"$tmp/files"
		[ -s "$tmp/files" ] && cmp -s "$tmp/before" "$tmp/files" && break
		mv "$tmp/files" "$tmp/before"
		looks=$((looks + 1))
		most=$grow_looks
		[ -s "$tmp/before" ] || most=$missing_looks
		if [ $looks -ge "$most" ]; then
			printf '{"phase":"lost","jibri_session_id":"%s","detail":"the session directory has no finished file"}' "$session" >"$body"
			tell
			return 1
		fi
	done
	{
		printf '{"phase":"stored","jibri_session_id":"%s","files":[' "$session"
		describe <"$tmp/files"
		printf ']}'
	} >"$body"
	tell && say "handed over"
}

detached=
if [ "${1:-}" = --detached ]; then
	detached=1
	shift
fi
[ $# = 1 ] || fail "needs a session directory"
dir=${1%/}
session=${dir##*/}
case $session in '' | .* | *[!A-Za-z0-9._-]*) fail "no session directory: $1" ;; esac
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
log=${USHER_FINALIZE_LOG:-${dir%/*}/usher-finalize.log}
case $recorder in '' | *[!A-Za-z0-9._-]*) fail "USHER_RECORDER may have A-Z a-z 0-9 . _ - only" ;; esac
[ -n "${USHER_URL:-}" ] || fail "USHER_URL is missing"
[ -n "$secret" ] || fail "USHER_RECORDER_SECRET is missing"
command -v openssl >/dev/null || fail "needs openssl"
command -v curl >/dev/null || command -v wget >/dev/null || fail "needs curl or wget"

if [ -n "$detached" ]; then
	say "begun by process $$"
	hand_over
	exit
fi
# The recording counts more than the log.
(: >>"$log") 2>/dev/null || log=/dev/null
# Jibri waits for as long as this script, or a pipe that it was given, is open.
start=$(command -v setsid) || start='nohup'
"$start" /bin/sh "$0" --detached "$dir" </dev/null >>"$log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
