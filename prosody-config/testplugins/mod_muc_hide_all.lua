-- Stands in for Jitsi's mod_muc_hide_all in tests and the demo; not part of
-- the product. No room is ever listed, and disco#info on an existing room is
-- answered to its occupants only (by full JID); a missing room says
-- item-not-found to everybody.
local st = require "util.stanza";

local rooms = module:depends("muc");

module:hook("muc-room-pre-create", function (event)
	event.room:set_hidden(true);
end, -1);

module:hook("iq-get/bare/http://jabber.org/protocol/disco#info:query", function (event)
	local stanza = event.stanza;
	local room = rooms.get_room_from_jid(stanza.attr.to);
	if room and not room:get_occupant_by_real_jid(stanza.attr.from) then
		event.origin.send(st.error_reply(stanza, "auth", "forbidden"));
		return true;
	end
end, 1);
