#!/bin/sh
# Puts usher beside docker-jitsi-meet. In its folder, after its own first steps
# (.env with PUBLIC_URL, ./gen-passwords.sh), as root or as the user 1000:
#
#   …/deploy/docker-jitsi-meet/setup.sh
#
# It makes what is missing and leaves alone what is there, so it may be run again,
# as after an upgrade of usher:
#
#   .env                                     secrets, and two lines for Jibri
#   usher.yml                                the compose file
#   CONFIG/prosody/config/conf.d             what Prosody needs to know of usher
#   CONFIG/usher, CONFIG/prosody/config/certs  an authority, and Prosody's certificates by it
#   CONFIG/web/nginx-custom/usher.conf       what the web container hands on to usher
#   CONFIG/jibri/usher                       Jibri's finalize script
#
# Then it starts Prosody, anew if what that reads has changed, and creates usher's
# two accounts. It prints no secret.
set -eu
umask 077
LC_ALL=C
export LC_ALL

here=$(cd -- "$(dirname -- "$0")" && pwd)
source=$here/../..     # of usher
env=.env
container_user=1000    # of usher's image, and of docker-jitsi-meet's
certificate_days=3650
renew_before=2592000   # seconds before a certificate's end: 30 days
account_tries=60       # tries, two seconds apart, to create an account while Prosody starts

# shellcheck source=SCRIPTDIR/../functions.sh
. "$here/../functions.sh"

# own gives files to the user of the containers.
own() {
	[ "$(id -u)" != 0 ] || chown "$container_user:$container_user" "$@"
}

# folder makes one that the containers can use.
folder() {
	[ -d "$1" ] && return
	mkdir -p "$1"
	chmod 755 "$1"
	own "$1"
}

# pair tells whether a certificate and a key are there and belong together.
pair() { # CERTIFICATE KEY
	[ -s "$1" ] && [ -s "$2" ] &&
		public=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) &&
		[ "$public" = "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]
}

# key makes a private key.
key() { openssl ecparam -genkey -noout -name prime256v1 -out "$1"; }

# authority makes what signs Prosody's certificates. Its key stays here; usher has
# the certificate alone.
authority() {
	pair "$ca/ca.pem" "$ca/ca.key" && openssl x509 -in "$ca/ca.pem" -noout -checkend $renew_before >/dev/null && return
	printf '[req]\ndistinguished_name = dn\nx509_extensions = ext\n[dn]\n[ext]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\nsubjectKeyIdentifier = hash\n' >"$work/ca.cnf"
	key "$work/ca.key"
	openssl req -x509 -new -config "$work/ca.cnf" -key "$work/ca.key" -days $certificate_days -subj "$ca_name" -out "$work/ca.pem"
	chmod 644 "$work/ca.pem"
	mv "$work/ca.key" "$work/ca.pem" "$ca"
	echo "made $ca/ca.pem"
}

# certificate makes Prosody's for a domain, signed by the authority, unless there
# is a good one.
certificate() {
	crt=$certs/$1.crt
	if pair "$crt" "$certs/$1.key" && openssl verify -CAfile "$ca/ca.pem" "$crt" >/dev/null 2>&1 &&
		openssl x509 -in "$crt" -noout -checkend $renew_before >/dev/null; then
		return
	fi
	if [ -s "$crt" ]; then
		case $(openssl x509 -in "$crt" -noout -issuer -nameopt RFC2253 2>/dev/null) in
		'' | *"$ca_cn"*) ;;
		*) fail "$crt is the site's own, not of the authority in $ca: move it and its key away, and they are made anew" ;;
		esac
	fi
	printf 'subjectAltName = DNS:%s\nextendedKeyUsage = serverAuth\n' "$1" >"$work/ext"
	printf '[req]\ndistinguished_name = dn\n[dn]\n' >"$work/req.cnf"
	key "$work/key"
	openssl req -new -config "$work/req.cnf" -key "$work/key" -subj "/CN=$1" -out "$work/csr"
	openssl x509 -req -in "$work/csr" -days $certificate_days -extfile "$work/ext" \
		-CA "$ca/ca.pem" -CAkey "$ca/ca.key" -set_serial "0x$(openssl rand -hex 16)" -out "$work/crt" 2>/dev/null
	chmod 644 "$work/crt"
	own "$work/key" "$work/crt"
	mv "$work/key" "$certs/$1.key"
	mv "$work/crt" "$crt"
	echo "made $crt"
	changed=1
}

# account creates a login of usher's while Prosody starts.
account() { # JID PASSWORD
	tries=0
	# shellcheck disable=SC2086 # words
	until register "$1" "$2" $compose exec -T prosody prosodyctl --config /run/prosody/config/prosody.cfg.lua; do
		tries=$((tries + 1))
		if [ $tries -ge $account_tries ]; then
			sed 's/^/prosodyctl: /' "$work/register" >&2
			fail "the account $1 cannot be created; see: $compose logs prosody"
		fi
		sleep 2
	done
	echo "account $1"
}

# What has to be there already.
[ -f docker-compose.yml ] || fail "no docker-compose.yml here: run it in the folder of docker-jitsi-meet"
[ -f "$env" ] || fail "no .env here: cp env.example .env, set PUBLIC_URL in it, and run ./gen-passwords.sh"
command -v openssl >/dev/null || fail "needs openssl"
case $(id -u) in
0 | "$container_user") ;;
*) fail "run it as root (sudo) or as the user $container_user: the containers are that user and must be able to read what it writes" ;;
esac
begin

for name in CONFIG PUBLIC_URL; do
	[ -n "$(value $name)" ] || fail "$env: $name is missing"
done
for name in JICOFO_AUTH_PASSWORD JVB_AUTH_PASSWORD JIBRI_RECORDER_PASSWORD JIBRI_XMPP_PASSWORD; do
	[ -n "$(value $name)" ] || fail "$env: $name is empty: run ./gen-passwords.sh first"
done
case $(value PUBLIC_URL) in
https://?* | http://?*) ;;
*) fail "$env: PUBLIC_URL must begin with https:// : people are sent there" ;;
esac
config=$(value CONFIG)
case $config in
*'$'*) fail "$env: write CONFIG without variables" ;;
[~] | [~]/*)
	[ -z "${SUDO_USER:-}" ] || [ "$SUDO_USER" = root ] || fail "$env: CONFIG begins with ~, which is another folder for root than for $SUDO_USER: write the whole path"
	config=$HOME${config#[~]}
	;;
esac
if [ -n "$(value MAX_PARTICIPANTS)" ]; then
	seats=$(value MAX_PARTICIPANTS)
	fail "$env: MAX_PARTICIPANTS gives usher a person's seat, or keeps it out. In its place:
  XMPP_MUC_MODULES=muc_max_occupants
  XMPP_MUC_CONFIGURATION=muc_max_occupants=\"$seats\"
(each in front of what is there, with a comma)"
fi
case $(value ENABLE_AUTH)/$(value AUTH_TYPE) in
1/jwt | true/jwt)
	jwt=$(value JWT_APP_SECRET)
	[ -z "$jwt" ] || [ ${#jwt} -ge $min_jwt_secret ] || fail "$env: JWT_APP_SECRET has ${#jwt} characters; usher signs with $min_jwt_secret or more"
	issuers=$(value JWT_ACCEPTED_ISSUERS) app=$(value JWT_APP_ID)
	case ,$issuers, in
	,, | *",$app,"* | *,\*,*) ;;
	*) fail "$env: JWT_ACCEPTED_ISSUERS is without JWT_APP_ID ($app), by which usher signs: add it" ;;
	esac
	audiences=$(value JWT_ACCEPTED_AUDIENCES) audience=$(value USHER_JWT_AUDIENCE)
	case ,$audiences, in
	,, | *",${audience:-jitsi},"* | *,\*,*) ;;
	*)
		[ -z "$audience" ] || fail "$env: USHER_JWT_AUDIENCE is none of JWT_ACCEPTED_AUDIENCES"
		put USHER_JWT_AUDIENCE "${audiences%%,*}"
		;;
	esac
	;;
esac

domain=$(value XMPP_DOMAIN)
domain=${domain:-meet.jitsi}
auth=$(value XMPP_AUTH_DOMAIN)
auth=${auth:-auth.meet.jitsi}
hidden=$(value XMPP_HIDDEN_DOMAIN)
hidden=${hidden:-hidden.meet.jitsi}

if docker compose version >/dev/null 2>&1; then
	compose="docker compose"
elif command -v docker-compose >/dev/null; then
	compose=docker-compose
else
	fail "needs docker compose"
fi
image=$(value USHER_IMAGE)
image=${image:-usher}
docker image inspect "$image" >/dev/null 2>&1 || fail "no image $image here: type 'make image' in usher's folder, or docker pull $image"
files=${COMPOSE_FILE:-$(value COMPOSE_FILE)}
case :$files: in
::)
	compose="$compose -f docker-compose.yml"
	[ ! -f docker-compose.override.yml ] || compose="$compose -f docker-compose.override.yml"
	[ ! -f jibri.yml ] || compose="$compose -f jibri.yml"
	compose="$compose -f usher.yml"
	;;
*:usher.yml:*) ;;
*) fail "COMPOSE_FILE is set without usher.yml: add :usher.yml to it" ;;
esac

for name in COMPONENT_SECRET OCCUPANT_PASSWORD BREWERY_PASSWORD RESERVATION_TOKEN SEAL_SECRET RECORDER_SECRET JIBRI_HOOK_SECRET API_KEY; do
	secret "USHER_$name"
done
# One line each, for Compose to put in: a variable in another's place.
# shellcheck disable=SC2016
while read -r name line; do
	[ -n "$(value "$name")" ] || put "$name" "$line"
done <<'LINES'
USHER_PUBLIC_URL ${PUBLIC_URL}
JIBRI_FINALIZE_RECORDING_SCRIPT_PATH /config/usher/finalize
JIBRI_WEBHOOK_SUBSCRIBERS http://usher:8480/internal/jibri/${USHER_JIBRI_HOOK_SECRET}
LINES
finish

ca=$config/usher certs=$config/prosody/config/certs
ca_cn="usher's authority of $domain" ca_name="/CN=usher's authority of $domain"
for dir in "$config" "$ca" "$config/prosody" "$config/prosody/config" "$config/prosody/config/conf.d" "$certs" \
	"$config/web" "$config/web/nginx-custom" "$config/jibri" "$config/jibri/usher" \
	"$config/storage" "$config/storage/prosody" "$config/storage/web" "$config/storage/transcripts" \
	"$config/storage/jibri" "$config/storage/jibri/recordings"; do
	folder "$dir"
done
authority
certificate "$domain"
certificate "$auth"
certificate "$hidden" # it need not be below $domain, whose certificate Prosody would show
copy "$source/prosody-config/usher.cfg.lua" "$config/prosody/config/conf.d/usher.cfg.lua" 644
prosody_changed=$changed
copy "$here/usher.yml" usher.yml 644
copy "$here/nginx.conf" "$config/web/nginx-custom/usher.conf" 644
copy "$here/finalize" "$config/jibri/usher/finalize" 755
printf '{\n  "url": "http://usher:8480",\n  "recorder": "jibri",\n  "recorder_secret": "%s",\n  "spool_dir": "/storage/usher-spool",\n  "recordings_dir": "/storage/recordings"\n}\n' \
	"$(value USHER_RECORDER_SECRET)" >"$work/finalize.json"
copy "$work/finalize.json" "$config/jibri/usher/finalize.json" 600
# Jibri runs the program too.
made=$(docker create "$image")
docker cp "$made:/usher" "$work/usher" >/dev/null
docker rm "$made" >/dev/null
copy "$work/usher" "$config/jibri/usher/usher" 755
rm -f "$config/jibri/usher/usher.old"
for name in JIBRI_FINALIZE_RECORDING_SCRIPT_PATH JIBRI_WEBHOOK_SUBSCRIBERS; do
	case $(value $name) in
	*usher*) ;;
	*) echo "note: $env has a $name of the site's own; docs/recording.md says what usher needs of it" ;;
	esac
done

echo "starting Prosody${prosody_changed:+ anew}"
$compose up -d ${prosody_changed:+--force-recreate} prosody
account "usher@$hidden" "$(value USHER_OCCUPANT_PASSWORD)"
account "usher@$auth" "$(value USHER_BREWERY_PASSWORD)"
echo "done; now start the rest:
  $compose up -d"
