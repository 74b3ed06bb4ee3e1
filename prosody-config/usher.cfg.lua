-- What a site adds to Prosody for usher: Prosody 0.12 and 13, with Jitsi's
-- stock plugins. Where to put it and what else belongs to it: README.md.
--
-- Compose files and container platforms pass variables that nobody has set as
-- empty ones, which count as unset here as in docker-jitsi-meet.
local function set(variable) return variable ~= "" and variable or nil end

-- Each name comes from the variable that docker-jitsi-meet uses for it; a site
-- without these variables, or with other names, changes them here only.
local main    = set(ENV_XMPP_DOMAIN)        or "meet.jitsi"
local muc     = set(ENV_XMPP_MUC_DOMAIN)    or "muc.meet.jitsi"
local auth    = set(ENV_XMPP_AUTH_DOMAIN)   or "auth.meet.jitsi"
local hidden  = set(ENV_XMPP_HIDDEN_DOMAIN) or "hidden.meet.jitsi"
local usher   = set(ENV_USHER_DOMAIN)       or "usher." .. main
local account = set(ENV_USHER_ACCOUNT)      or "usher"

-- docker-jitsi-meet opens no component port at all (its list is empty).
component_ports = { set(ENV_USHER_COMPONENT_PORT) or 5347 }

-- The component stream is not encrypted, so it is loopback unless the site
-- says otherwise; between containers set USHER_COMPONENT_INTERFACE=0.0.0.0.
component_interfaces = { set(ENV_USHER_COMPONENT_INTERFACE) or "127.0.0.1" }

-- With Nagle's algorithm on, an answer to usher can wait 40 ms for an
-- acknowledgement. The option replaces the whole table, so the backlog that
-- docker-jitsi-meet sets in it (one below a power of two) is repeated.
network_settings = { nagle = false; tcp_backlog = 511 }

-- mod_reservations asks usher before a room opens; this proves it is Prosody.
-- For all hosts: a guest host needs both as well as the main one, and takes them
-- from here when it loads the module. A site that gives a host its own keeps them.
if set(ENV_PROSODY_RESERVATION_REST_BASE_URL) then
    reservations_api_prefix = ENV_PROSODY_RESERVATION_REST_BASE_URL
end
reservations_api_headers = {
    Authorization = "Bearer " .. (set(ENV_USHER_RESERVATION_TOKEN) or "");
}

Component(usher)
    -- Not in a file that is copied around. Without it nobody can connect; with an
    -- empty one everybody could.
    component_secret = set(ENV_USHER_COMPONENT_SECRET)

    -- The default refuses the new connection while the old one looks alive, and
    -- a half-open one looks alive for a quarter of an hour.
    component_conflict_resolve = "kick_old"

-- From here on, hosts that the site has already. docker-jitsi-meet sets none of
-- these keys itself, so there the order in which Prosody reads the files is all the
-- same; Debian's packages set one, so there this file has to be read last.
Component(muc) "muc"
    -- usher lists roles, grants and ends meetings from this address. An admin of
    -- this component only, not of the server; it never enters a room, because an
    -- admin who is first in a room takes its meeting id away. The focus is one
    -- already, in docker-jitsi-meet of the whole server; Debian's packages name it
    -- in this very list, which this line replaces.
    admins = { "ctl@" .. usher, "focus@" .. auth }

    -- What makes an admin an owner of each room: the default until Prosody 0.12, and
    -- what docker-jitsi-meet sets.
    component_admins_as_room_owners = true

    -- The occupant has no token. Needed only where enable_domain_verification is
    -- on; without it, stock token_verification lets a session without token in.
    token_verification_allowlist = { usher, hidden }

    -- Where mod_muc_max_occupants limits a room, the site's own take no seat in it
    -- and are let into a full one. With docker-jitsi-meet's MAX_PARTICIPANTS its
    -- own list would compete with this one: README.md says what to set instead.
    muc_access_whitelist = { "focus@" .. auth, usher, hidden }

VirtualHost(hidden)
    -- The occupant enters each meeting by one login; at the 10 kB/s of a browser
    -- a thousand rooms take 26 seconds instead of one to come back to.
    -- An inherited set: the site's own list stays valid.
    unlimited_jids = { account .. "@" .. hidden }
