-- A plugin of entry_test.go: a room whose name begins with "full" has no seat for
-- usher until somebody in it raises a hand, and refuses it as mod_muc_max_occupants
-- does.
local st = require "util.stanza";

local seats = {};

module:hook("muc-occupant-pre-change", function (event)
	if event.stanza:get_child_text("jitsi_participant_raisedHand") then seats[event.room.jid] = true; end
end);

module:hook("muc-occupant-pre-join", function (event)
	local room = event.room.jid;
	if event.occupant.bare_jid == "usher@hidden.meet.jitsi" and room:match("^full") and not seats[room] then
		event.origin.send(st.error_reply(event.stanza, "cancel", "service-unavailable"));
		return true;
	end
end, 9);
