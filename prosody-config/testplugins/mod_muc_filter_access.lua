-- Stands in for Jitsi's mod_muc_filter_access in tests and the demo; not part
-- of the product. Presences from a domain that is not in muc_filter_whitelist
-- are dropped before the MUC sees them: no answer, not even an error.
local jid = require "util.jid";

local allowed = module:get_option_set("muc_filter_whitelist", {});

local function drop_strangers(event)
	local _, domain = jid.split(event.stanza.attr.from);
	if not allowed:contains(domain) then
		module:log("debug", "presence from %s dropped", tostring(event.stanza.attr.from));
		return true;
	end
end

-- The original's priority: before everything of the MUC's.
module:hook("presence/host", drop_strangers, 2000);
module:hook("presence/bare", drop_strangers, 2000);
module:hook("presence/full", drop_strangers, 2000);
