-- Stands in for Jitsi's mod_muc_resource_validate in tests and the demo; not
-- part of the product. A nick starts with a letter or digit and goes on with
-- letters, digits and underscores, and is never changed. JIDs without a local
-- part are not checked.
local jid = require "util.jid";
local st = require "util.stanza";

local function refuse(event)
	event.origin.send(st.error_reply(event.stanza, "modify", "not-allowed", "Invalid resource"));
	return true;
end

module:hook("muc-occupant-pre-join", function (event)
	local nick = jid.resource(event.occupant.nick);
	if jid.node(event.stanza.attr.from) and not (nick or ""):match("^[%w][%w_]*$") then
		return refuse(event);
	end
end, 11);

module:hook("muc-occupant-pre-change", function (event)
	if event.orig_occupant.nick ~= event.dest_occupant.nick then
		return refuse(event);
	end
end, 11);
