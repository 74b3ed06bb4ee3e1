-- The Prosody of tests and of the demo: the hosts and settings of
-- docker-jitsi-meet (its prosody.cfg.lua and conf.d/jitsi-meet.cfg.lua of
-- August 2026, recording and reservations on), on loopback, plus the fragment
-- that a site adds for usher, included at the end as there.
--
-- Jitsi's own Prosody plugins are not in Debian: testplugins/ stands in for
-- those that matter here, under their names.
-- Comments mark what differs from docker-jitsi-meet.
local dir = ENV_USHER_LOCAL_DIR

-- A list of modules, in the form of docker-jitsi-meet's XMPP_MODULES, added to.
local function with(modules, variable)
    for name in (variable or ""):gmatch("[^,]+") do modules[#modules + 1] = name; end
    return modules
end

-- Loopback, on free ports; nothing of the machine's own Prosody is touched.
interfaces = { "127.0.0.1" }
c2s_ports = { ENV_USHER_LOCAL_CLIENT_PORT }
http_ports = { ENV_USHER_LOCAL_HTTP_PORT }
http_interfaces = { "127.0.0.1" }
https_ports = { }
data_path = dir .. "/data"
certificates = dir .. "/certs"
plugin_paths = { dir .. "/testplugins", ENV_USHER_LOCAL_PLUGINS }
-- A child of a program that root may have started, with no user to become.
run_as_root = true
log = {
    { levels = { min = ENV_LOG_LEVEL or "info" }, timestamps = "%Y-%m-%d %X", to = "file", filename = dir .. "/prosody.log" };
}

admins = { "jibri@auth.meet.jitsi", "focus@auth.meet.jitsi", "jvb@auth.meet.jitsi" }
component_admins_as_room_owners = true
gc = { mode = "incremental"; threshold = 400; speed = 250; step_size = 13 }
unlimited_jids = { "focus@auth.meet.jitsi", "jvb@auth.meet.jitsi" }
limits = {
    c2s = { rate = "10kb/s" };
    s2sin = { rate = "30kb/s" };
}

-- Without admin_shell and http_health, which nothing here uses.
modules_enabled = {
    "roster"; "saslauth"; "tls"; "disco"; "private"; "limits"; "version"; "ping"; "posix";
}
modules_disabled = { "offline"; "register"; "s2s" }
allow_registration = false
authentication = "internal_hashed"
c2s_require_encryption = true

http_default_host = "meet.jitsi"
muc_mapper_domain_base = "meet.jitsi"
consider_bosh_secure = true
consider_websocket_secure = true
smacks_max_unacked_stanzas = 5
smacks_hibernation_time = 60
smacks_max_old_sessions = 1
storage = { smacks_h = "memory" }

VirtualHost "meet.jitsi"
    -- docker-jitsi-meet: "token", or "jitsi-anonymous" without authentication.
    -- Here both at once, so that guests and people with a token can be tried.
    authentication = "token"
    app_id = ENV_JWT_APP_ID
    app_secret = ENV_JWT_APP_SECRET
    allow_empty_token = true
    modules_enabled = with({
        "bosh";
        "websocket";
        "smacks";
        "muc_breakout_rooms";
        "presence_identity"; -- not in docker's default list; the README asks for it
        ENV_PROSODY_RESERVATION_REST_BASE_URL and "reservations" or nil;
    }, ENV_XMPP_MODULES)
    main_muc = "muc.meet.jitsi"
    breakout_rooms_muc = "breakout.meet.jitsi"
    lobby_muc = "lobby.meet.jitsi" -- where a test has XMPP_MODULES=muc_lobby_rooms
    muc_lobby_whitelist = { "hidden.meet.jitsi" }
    reservations_api_prefix = ENV_PROSODY_RESERVATION_REST_BASE_URL
    -- docker-jitsi-meet: true. People come by websocket there, which counts as
    -- encrypted; simulated people come by TCP, thousands of them.
    c2s_require_encryption = false

-- docker-jitsi-meet: with ENABLE_GUESTS, as "jitsi-anonymous". Without XMPP_MODULES
-- presence_identity is missing, as in its images that load those on the main host
-- alone.
VirtualHost "guest.meet.jitsi"
    authentication = "anonymous"
    modules_enabled = with({ "smacks" }, ENV_XMPP_MODULES)
    main_muc = "muc.meet.jitsi"
    c2s_require_encryption = false

VirtualHost "auth.meet.jitsi"
    authentication = "internal_hashed"
    modules_enabled = { "smacks" }
    smacks_hibernation_time = 15

-- As in docker-jitsi-meet it has no certificate of its own: Prosody shows the
-- one of meet.jitsi.
VirtualHost "hidden.meet.jitsi"
    authentication = "internal_hashed"
    modules_enabled = { "smacks" }

Component "internal-muc.meet.jitsi" "muc"
    storage = "memory"
    modules_enabled = { "muc_hide_all"; "muc_filter_access" }
    restrict_room_creation = true
    -- docker-jitsi-meet: auth.meet.jitsi alone. usher's domain is there too unless
    -- told otherwise, as docs/recording.md has it.
    muc_filter_whitelist = ENV_USHER_LOCAL_KEEP_POOL_OUT and { "auth.meet.jitsi" } or { "auth.meet.jitsi", "usher.meet.jitsi" }
    muc_room_locking = false
    muc_room_default_public_jids = true
    muc_room_cache_size = 1000
    muc_tombstones = false
    muc_room_allow_persistent = false

Component "muc.meet.jitsi" "muc"
    restrict_room_creation = true
    storage = "memory"
    modules_enabled = with({
        "muc_hide_all";
        "muc_meeting_id";
        "token_verification";
        "muc_resource_validate";
        ENV_USHER_LOCAL_MUC_MODULE; -- of the benchmark
    }, ENV_XMPP_MUC_MODULES)
    -- docker-jitsi-meet: in XMPP_MUC_CONFIGURATION, which is Lua code there.
    muc_max_occupants = ENV_USHER_LOCAL_SEATS
    bench_post_file = ENV_USHER_LOCAL_MUC_MODULE_FILE
    muc_room_cache_size = 10000
    muc_room_locking = false
    muc_room_default_public_jids = true
    muc_tombstones = false
    muc_room_allow_persistent = false

Component "lobby.meet.jitsi" "muc"
    storage = "memory"
    restrict_room_creation = true
    modules_enabled = { "muc_hide_all" }
    muc_room_locking = false
    muc_room_default_public_jids = true
    muc_tombstones = false
    muc_room_allow_persistent = false

Component "breakout.meet.jitsi" "muc"
    restrict_room_creation = true
    storage = "memory"
    admins = { "focus@auth.meet.jitsi" }
    modules_enabled = { "muc_hide_all"; "muc_meeting_id" }
    muc_room_locking = false
    muc_room_default_public_jids = true
    muc_tombstones = false
    muc_room_allow_persistent = false

-- docker-jitsi-meet: mod_client_proxy, which hands conference requests to the
-- focus account. Here the simulated focus takes them itself, as a component,
-- unless a test asks for the proxy.
Component "focus.meet.jitsi" (ENV_USHER_LOCAL_FOCUS_MODULE or "component")
    component_secret = ENV_USHER_LOCAL_FOCUS_SECRET
    target_address = "focus@auth.meet.jitsi"

-- Not in docker-jitsi-meet: one stream that plays many people, for load.
Component "crowd.meet.jitsi"
    component_secret = ENV_USHER_LOCAL_CROWD_SECRET

Include "conf.d/*.cfg.lua"
