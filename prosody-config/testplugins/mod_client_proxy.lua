-- Stands in for Jitsi's mod_client_proxy in tests; not part of the product.
-- What is asked of this component goes to a session of target_address, and the
-- answer back. It knows of a session only by presence, and Prosody sends it the
-- presence of that account only when the account's roster lets it subscribe.
-- Left out: several sessions, and every stanza but requests and their answers.
local jid = require "util.jid";
local st = require "util.stanza";

local target = module:get_option_string("target_address");
local session; -- full address, while there is one

local function presence(event)
	local stanza = event.stanza;
	if jid.bare(stanza.attr.from) ~= target then return; end
	if not stanza.attr.type then
		session = stanza.attr.from;
	elseif stanza.attr.type == "unavailable" or stanza.attr.type == "error" then
		session = nil;
	end
	return true;
end
module:hook("presence/host", presence);
module:hook("presence/bare", presence);

module:hook("iq/host", function (event) -- with a resource or without
	local stanza = event.stanza;
	if stanza.attr.type == "result" or stanza.attr.type == "error" then
		stanza.attr.from, stanza.attr.to = module.host, jid.resource(stanza.attr.to);
	elseif session then
		stanza.attr.from, stanza.attr.to = module.host .. "/" .. stanza.attr.from, session;
	else
		stanza = st.error_reply(stanza, "cancel", "service-unavailable");
	end
	module:send(stanza);
	return true;
end);

module:send(st.presence({ type = "subscribe", from = module.host, to = target }));
