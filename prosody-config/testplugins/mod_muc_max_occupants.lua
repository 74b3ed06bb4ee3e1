-- Stands in for Jitsi's mod_muc_max_occupants in tests; not part of the product.
-- A room takes muc_max_occupants people. Who is in muc_access_whitelist, by
-- address or domain, is not counted and always let in.
-- The original fails without that list.
local jid = require "util.jid";
local st = require "util.stanza";

local free = module:get_option_set("muc_access_whitelist", {});
local seats = module:get_option_number("muc_max_occupants", -1);

local function takes_no_seat(address)
	local _, domain = jid.split(address);
	return free:contains(domain) or free:contains(jid.bare(address));
end

local function check(event)
	local address = event.stanza.attr.from;
	if takes_no_seat(address) then return; end
	local taken = 0;
	for _, occupant in event.room:each_occupant() do
		if not takes_no_seat(occupant.bare_jid) then taken = taken + 1; end
	end
	if taken >= seats then
		event.origin.send(st.error_reply(event.stanza, "cancel", "service-unavailable"));
		return true;
	end
end

if seats > 0 then
	module:hook("muc-occupant-pre-join", check, 10); -- the original's priority
end
