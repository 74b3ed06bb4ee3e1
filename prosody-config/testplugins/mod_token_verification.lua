-- Stands in for Jitsi's mod_token_verification in tests and the demo; not part
-- of the product. A token opens the room that its claim names, "*" every room;
-- sessions without a token pass, as with docker-jitsi-meet's default
-- (enable_domain_verification off).
local jid = require "util.jid";
local st = require "util.stanza";

local allowed = module:get_option_set("token_verification_allowlist", {});

module:hook("muc-occupant-pre-join", function (event)
	local stanza, session = event.stanza, event.origin;
	local _, host = jid.split(stanza.attr.from);
	if allowed:contains(host) or allowed:contains(jid.bare(stanza.attr.from)) then return; end
	local claim = session.jitsi_meet_room;
	if not session.auth_token or claim == "*" then return; end
	if type(claim) == "string" and claim:lower() == jid.node(event.room.jid) then return; end
	session.send(st.error_reply(stanza, "cancel", "not-allowed", "Room and token mismatched"));
	return true;
end, 99);
