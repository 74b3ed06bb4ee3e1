-- What a site adds to Prosody for usher: Prosody 0.12 and 13, with Jitsi's
-- stock plugins. Where to put it and what else belongs to it: README.md.
--
-- Each name comes from the variable that docker-jitsi-meet uses for it; a site
-- without these variables, or with other names, changes them here only.
local main    = ENV_XMPP_DOMAIN        or "meet.jitsi"
local muc     = ENV_XMPP_MUC_DOMAIN    or "muc.meet.jitsi"
local hidden  = ENV_XMPP_HIDDEN_DOMAIN or "hidden.meet.jitsi"
local usher   = ENV_USHER_DOMAIN       or "usher." .. main
local account = ENV_USHER_ACCOUNT      or "usher"

-- docker-jitsi-meet opens no component port at all (its list is empty).
component_ports = { ENV_USHER_COMPONENT_PORT or 5347 }

-- The component stream is not encrypted, so it is loopback unless the site
-- says otherwise; between containers set USHER_COMPONENT_INTERFACE=0.0.0.0.
component_interfaces = { ENV_USHER_COMPONENT_INTERFACE or "127.0.0.1" }

-- With Nagle's algorithm on, an answer to usher can wait 40 ms for an
-- acknowledgement. The option replaces the whole table, so the backlog that
-- docker-jitsi-meet sets in it (one below a power of two) is repeated.
network_settings = { nagle = false; tcp_backlog = 511 }

Component(usher)
    -- Not in a file that is copied around. Without it nobody can connect.
    component_secret = ENV_USHER_COMPONENT_SECRET

    -- The default refuses the new connection while the old one looks alive, and
    -- a half-open one looks alive for a quarter of an hour.
    component_conflict_resolve = "kick_old"

-- From here on, hosts that the site has already: only keys that it does not set
-- itself are added, so the order in which Prosody reads the files is all the same.
Component(muc) "muc"
    -- usher lists roles, grants and ends meetings from this address. An admin of
    -- this component only, not of the server; it never enters a room, because an
    -- admin who is first in a room takes its meeting id away.
    admins = { "ctl@" .. usher }

    -- The occupant has no token. Needed only where enable_domain_verification is
    -- on; without it, stock token_verification lets a session without token in.
    token_verification_allowlist = { usher, hidden }

VirtualHost(hidden)
    -- The occupant enters each meeting by one login; at the 10 kB/s of a browser
    -- a thousand rooms take 26 seconds instead of one to come back to.
    -- An inherited set: the site's own list stays valid.
    unlimited_jids = { account .. "@" .. hidden }

VirtualHost(main)
    -- mod_reservations asks usher before a room opens; this proves it is Prosody.
    reservations_api_headers = {
        Authorization = "Bearer " .. (ENV_USHER_RESERVATION_TOKEN or "");
    }
