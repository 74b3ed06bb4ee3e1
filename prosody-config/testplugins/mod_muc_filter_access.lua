-- Stand-in for Jitsi's plugin of this name: presences of a domain that is not
-- on the list vanish without an answer.
local allowed = module:get_option_set("muc_filter_whitelist");
local jid_host = require "util.jid".host;

local function filter(event)
    local from = event.stanza.attr.from;
    if not from or not allowed:contains(jid_host(from)) then
        return true;
    end
end

module:hook("presence/host", filter, 2000);
module:hook("presence/bare", filter, 2000);
module:hook("presence/full", filter, 2000);
