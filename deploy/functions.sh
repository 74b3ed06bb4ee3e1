#!/bin/sh
# shellcheck disable=SC2034,SC2154 # those who read this file use and set the variables
# What the setup.sh of docker-jitsi-meet and of Debian have in common. They set env,
# the file of variables that they complete, lines NAME=VALUE, and define own, which
# gives files to whoever is to read them.

min_secret=16     # characters, as usher itself wants
min_jwt_secret=32 # characters, as usher itself wants of HS256

fail() {
	echo "setup.sh: $*" >&2
	exit 1
}

# begin looks whether every line of the file can be read, and copies it to new.
begin() {
	awk -v file="$env" '
		/^[ \t]*(#|\r?$)/ { next }
		!/^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=/ { print "setup.sh: " file ":" NR ": not a line of the form NAME=VALUE"; bad = 1; next }
		{
			name = $0; sub(/[ \t]*=.*/, "", name)
			rest = $0; sub(/^[^=]*=[ \t]*/, "", rest)
			quote = substr(rest, 1, 1)
			if ((quote == "\"" || quote == "\047") && index(substr(rest, 2), quote) == 0) {
				print "setup.sh: " file ":" NR ": the quote of" " " name " is not closed"; bad = 1
			}
		}
		END { exit bad }' "$env" >&2 || fail "$env is half-written; nothing was changed"
	work=$(mktemp -d)
	new=$work/new
	trap 'rm -rf -- "$work" "$env.new"' EXIT
	trap 'exit 1' HUP INT TERM
	cat "$env" >"$new"
	[ -z "$(tail -c 1 "$new")" ] || echo >>"$new"
	changed=
}

# finish puts the file in its place, whole or not at all; its owner alone can read it.
finish() {
	cmp -s "$new" "$env" && return
	cp -p "$env" "$env.new"
	chmod go-rwx "$env.new"
	cat "$new" >"$env.new"
	mv "$env.new" "$env"
}

# value prints what the file gives a variable, without quotes and comments; the last
# line counts.
value() {
	sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$new" | tail -n 1 |
		sed -e "s/^\"\([^\"]*\)\".*/\1/; t" -e "s/^'\([^']*\)'.*/\1/; t" -e 's/[[:space:]]#.*//; s/^#.*//; s/[[:space:]]*$//'
}

# put gives a variable a value, at the end: a value may name variables of earlier
# lines. An empty line of it goes.
put() {
	NAME=$1 VALUE=$2 awk '
		$0 !~ "^[ \t]*" ENVIRON["NAME"] "[ \t]*=[ \t]*\r?$" { print }
		END { print ENVIRON["NAME"] "=" ENVIRON["VALUE"] }' "$new" >"$work/env"
	mv "$work/env" "$new"
}

# secret makes a secret unless there is one.
secret() {
	current=$(value "$1")
	case $current in
	'')
		put "$1" "$(openssl rand -hex 32)"
		echo "made $1"
		;;
	*[!A-Za-z0-9._~+/=-]*) fail "$env: $1 has characters that some of its readers would take for something else; empty it, and it is made anew" ;;
	esac
	current=$(value "$1")
	[ ${#current} -ge $min_secret ] || fail "$env: $1 has ${#current} characters, $min_secret are needed; empty it, and it is made anew"
}

# copy puts a file where it belongs, unless it is there already; one that differs
# is kept with the ending .old.
copy() { # FROM TO MODE
	cmp -s "$1" "$2" && return
	[ ! -e "$2" ] || mv "$2" "$2.old"
	cp "$1" "$2.new"
	chmod "$3" "$2.new"
	own "$2.new"
	mv "$2.new" "$2"
	echo "wrote $2"
	changed=1
}

# register creates an account with the given prosodyctl, or gives it the password.
# It reads the password, twice, as from a keyboard, so no list of processes shows it.
register() { # JID PASSWORD PROSODYCTL…
	jid=$1 password=$2
	shift 2
	printf '%s\n%s\n' "$password" "$password" | "$@" register "${jid%@*}" "${jid#*@}" >"$work/register" 2>&1
}
