#!/bin/sh
# Puts usher beside Jitsi's Debian packages, as root:
#
#   …/deploy/debian/setup.sh meet.example.org
#
# It makes what is missing and leaves alone what is there, so it may be run again,
# as after an upgrade of usher:
#
#   /usr/local/bin/usher, /etc/systemd/system/usher.service
#   /etc/usher/usher.env                secrets and settings
#   /etc/usher/ca.pem                   what usher trusts: Prosody's certificates
#   /etc/prosody/usher.cfg.lua          what Prosody needs to know of usher
#
# and usher's two accounts in Prosody, which is restarted if what it reads has
# changed. In the site's own file of Prosody it adds one line, at the end, which
# includes usher's; for other files of the site's own it prints the lines that are
# missing. It prints no secret.
set -eu
umask 077
LC_ALL=C
export LC_ALL

here=$(cd -- "$(dirname -- "$0")" && pwd)
source=$here/../..      # of usher
root=${DESTDIR:-}       # in front of every path, for tests
etc=$root/etc
env=$etc/usher/usher.env
program=${USHER_PROGRAM:-$source/bin/usher}

# shellcheck source=SCRIPTDIR/../functions.sh
. "$here/../functions.sh"

own() { :; } # root

# setting gives usher a setting unless it has one.
setting() { # NAME VALUE
	[ -n "$(value "$1")" ] || put "$1" "$2"
}

# has tells whether the site's file has a line that is no comment with the pattern.
has() { grep -Eq "^[^-]*$1" "$site"; }

# lua prints what the site's file gives an option, a string.
lua() { sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*[\"']\([^\"']*\)[\"'].*/\1/p" "$site" | head -n 1; }

# trust adds what verifies a certificate of Prosody's to ca.pem: itself if it has
# signed itself, as those of Jitsi's packages have, or what the machine trusts.
trust() { # DOMAIN
	crt=$etc/prosody/certs/$1.crt
	[ -r "$crt" ] || fail "no certificate $crt: prosodyctl cert generate $1, or 'prosodyctl --root cert import' for one of the site's own"
	if openssl verify -CAfile "$crt" "$crt" >/dev/null 2>&1; then
		openssl x509 -in "$crt" >>"$work/ca.pem"
	elif openssl verify -untrusted "$crt" "$crt" >/dev/null 2>&1; then
		[ -n "${roots:-}" ] || cat /etc/ssl/certs/ca-certificates.crt >>"$work/ca.pem"
		roots=1
	else
		fail "$crt is expired, or of an authority that this machine does not trust: put that one's certificate into a file, and that file's name as USHER_TLS_CA_FILE into $env"
	fi
}

# remains prints one of the lines that are left to the site's owner.
remains() {
	[ -n "${left:-}" ] || echo "left to you, in files that are the site's own:"
	left=1
	printf '  %s\n' "$*"
}

[ "$(id -u)" = 0 ] || fail "run it as root"
for needed in prosodyctl redis-server openssl; do
	command -v $needed >/dev/null || missing="${missing:-} $needed"
done
[ -z "${missing:-}" ] || fail "missing:$missing. Type: apt-get install prosody redis-server openssl"
[ -x "$program" ] || fail "no program: type 'make build' in $(cd "$source" && pwd)"

domain=${1:-}
if [ -z "$domain" ]; then
	for file in "$etc"/prosody/conf.avail/*.cfg.lua; do
		! grep -qs client_proxy "$file" || domain="${domain:+$domain }$(basename "$file" .cfg.lua)"
	done
	case $domain in
	'') fail "no site of Jitsi's packages in $etc/prosody/conf.avail: install jitsi-meet first, or name the site's domain" ;;
	*' '*) fail "several sites: name one of $domain" ;;
	esac
fi
case $domain in
*[!a-z0-9.-]*) fail "$domain is not a domain" ;;
esac
site=$etc/prosody/conf.avail/$domain.cfg.lua
[ -r "$site" ] || site=$etc/prosody/conf.d/$domain.cfg.lua
[ -r "$site" ] || fail "no file of Prosody's for $domain: neither conf.avail/$domain.cfg.lua nor conf.d/$domain.cfg.lua in $etc/prosody"

# The site's names, from its own file.
muc=$(lua main_muc)
muc=${muc:-conference.$domain}
focus=$(lua target_address)
focus=${focus:-focus@auth.$domain}
auth=${focus#*@}
hidden=hidden.$domain
! has "VirtualHost \"recorder\.$domain\"" || hidden=recorder.$domain
internal=internal.$auth
! has "Component \"internal-muc\.$domain\"" || internal=internal-muc.$domain
has "Component[ (]*\"$muc\"" || fail "$site has no Component \"$muc\", the rooms"
has "VirtualHost[ (]*\"$auth\"" || fail "$site has no VirtualHost \"$auth\", the domain of Jicofo"

mkdir -p "$etc/usher" "$root/usr/local/bin" "$etc/systemd/system"
chmod 755 "$etc/usher"
[ -e "$env" ] || : >"$env"
begin
for name in COMPONENT_SECRET OCCUPANT_PASSWORD BREWERY_PASSWORD RESERVATION_TOKEN SEAL_SECRET JIBRI_HOOK_SECRET API_KEY; do
	secret "USHER_$name"
done
setting USHER_XMPP_DOMAIN "$domain"
setting USHER_MUC "$muc"
setting USHER_HIDDEN_DOMAIN "$hidden"
setting USHER_FOCUS_JID "$focus"
setting USHER_BREWERY "jibribrewery@$internal"
setting USHER_TLS_CA_FILE /etc/usher/ca.pem
setting USHER_DATA_DIR /var/lib/usher
setting USHER_SITE_URL "https://$domain"
setting USHER_PUBLIC_URL "https://$domain"
setting USHER_TRUSTED_PROXY 127.0.0.0/8,::1/128
! has '"presence_identity"' || setting USHER_TRUST_IDENTITY true
app=$(lua app_id) jwt=$(lua app_secret)
if has 'authentication *= *"token"' && [ -n "$app" ] && [ -n "$jwt" ]; then
	case $jwt in
	*[!A-Za-z0-9._~+/=-]*) echo "note: put the site's app_secret into $env yourself, as USHER_JWT_SECRET: it has characters that systemd reads as something else" ;;
	*)
		[ ${#jwt} -ge $min_jwt_secret ] || fail "$site: app_secret has ${#jwt} characters; usher signs with $min_jwt_secret or more"
		setting USHER_JWT_APP_ID "$app"
		setting USHER_JWT_SECRET "$jwt"
		;;
	esac
fi
: >"$work/ca.pem"
if [ "$(value USHER_TLS_CA_FILE)" = /etc/usher/ca.pem ]; then
	trust "$domain"
	[ "$auth" = "$domain" ] || trust "$auth"
fi
finish
[ ! -s "$work/ca.pem" ] || copy "$work/ca.pem" "$etc/usher/ca.pem" 644
copy "$here/nginx.conf" "$etc/usher/nginx.conf" 644

# The names that docker-jitsi-meet has as variables are locals here, so that
# prosodyctl, which has no variables, reads the same as Prosody.
changed=
{
	echo "-- setup.sh of usher wrote this; it is written anew when that is run again."
	for pair in XMPP_DOMAIN="$domain" XMPP_MUC_DOMAIN="$muc" XMPP_AUTH_DOMAIN="$auth" XMPP_HIDDEN_DOMAIN="$hidden" \
		PROSODY_RESERVATION_REST_BASE_URL=http://127.0.0.1:8480/reservations \
		USHER_COMPONENT_SECRET="$(value USHER_COMPONENT_SECRET)" USHER_RESERVATION_TOKEN="$(value USHER_RESERVATION_TOKEN)"; do
		printf 'local ENV_%s = "%s"\n' "${pair%%=*}" "${pair#*=}"
	done
	cat "$source/prosody-config/usher.cfg.lua"
} >"$work/usher.cfg.lua"
own() { chgrp prosody "$1"; }
copy "$work/usher.cfg.lua" "$etc/prosody/usher.cfg.lua" 640
own() { :; }
# Last in the site's file: it replaces the list of the rooms' admins.
if ! grep -Fqx "Include \"$etc/prosody/usher.cfg.lua\"" "$site"; then
	printf '\nInclude "%s"\n' "$etc/prosody/usher.cfg.lua" >>"$site"
	echo "added the line Include \"$etc/prosody/usher.cfg.lua\" to $site"
	changed=1
fi
prosody_changed=$changed
register "usher@$hidden" "$(value USHER_OCCUPANT_PASSWORD)" prosodyctl ||
	fail "the account usher@$hidden cannot be created: $(tail -n 3 "$work/register")"
register "usher@$auth" "$(value USHER_BREWERY_PASSWORD)" prosodyctl ||
	fail "the account usher@$auth cannot be created: $(tail -n 3 "$work/register")"
echo "accounts usher@$hidden and usher@$auth"

id usher >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /var/lib/usher --shell /usr/sbin/nologin usher
copy "$program" "$root/usr/local/bin/usher" 755
rm -f "$root/usr/local/bin/usher.old"
copy "$here/usher.service" "$etc/systemd/system/usher.service" 644
systemctl daemon-reload
if [ -n "$prosody_changed" ]; then
	echo "restarting Prosody"
	systemctl restart prosody
fi
systemctl enable usher
systemctl restart usher

web=$etc/jitsi/meet/$domain-config.js
grep -Eqs "^[^/]*hiddenDomain['\"]?[[:space:]]*[:=][[:space:]]*['\"]${hidden}['\"]" "$web" ||
	remains "echo \"config.hiddenDomain = '$hidden';\" >>$web"
grep -Fqs "$hidden" "$etc/jitsi/jicofo/jicofo.conf" ||
	remains "hocon -f $etc/jitsi/jicofo/jicofo.conf set jicofo.xmpp.trusted-domains '[\"$hidden\"]' && systemctl restart jicofo"
{ has '"presence_identity"' && has '"reservations"'; } ||
	remains "sed -i 's/^\\( *\\)\"muc_breakout_rooms\";/&\\n\\1\"presence_identity\";\\n\\1\"reservations\";/' $site && systemctl restart prosody"
grep -qs "include /etc/usher/nginx.conf" "$etc/nginx/sites-available/$domain.conf" ||
	remains "sed -i 's|^\\( *\\)root /usr/share/jitsi-meet;|&\\n\\1include /etc/usher/nginx.conf;|' $etc/nginx/sites-available/$domain.conf && systemctl reload nginx"
[ -z "${left:-}" ] || echo "then run this once more"
echo "done; see whether it is ready:
  usher healthcheck"
