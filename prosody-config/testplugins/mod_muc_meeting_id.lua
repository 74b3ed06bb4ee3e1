-- Stands in for Jitsi's mod_muc_meeting_id in tests and the demo; not part of
-- the product. Two of its rules matter to usher.
--
-- Until an occupant called focus has joined, everybody else's join waits in
-- silence; then all who still have a connection are let in, in order.
--
-- A room gets its meeting id when Prosody calls it created, which is when its
-- first occupant is in. If the first to come is an admin who has to wait, that
-- never happens: such a room has no meeting id for its whole life.
local jid = require "util.jid";
local new_uuid = require "util.uuid".generate;

local longest_queue = 500; -- as in the original; who comes after that is refused

local function is_focus(occupant)
	return jid.resource(occupant.nick) == "focus";
end

module:hook("muc-occupant-pre-join", function (event)
	local room = event.room;
	if room.focus_has_joined or is_focus(event.occupant) then return; end
	room.pre_join_queue = room.pre_join_queue or {};
	if #room.pre_join_queue < longest_queue then
		table.insert(room.pre_join_queue, event);
	else
		local st = require "util.stanza";
		event.origin.send(st.error_reply(event.stanza, "wait", "resource-constraint"));
	end
	return true;
end, 8);

module:hook("muc-occupant-joined", function (event)
	local room = event.room;
	if not is_focus(event.occupant) then return; end
	room.focus_has_joined = true;
	local waiting = room.pre_join_queue or {};
	room.pre_join_queue = nil;
	for _, join in ipairs(waiting) do
		if join.origin.conn then
			room:handle_normal_presence(join.origin, join.stanza);
		end
	end
end);

module:hook("muc-room-created", function (event)
	event.room._data.meetingId = new_uuid();
end);

local function add_meeting_id(event)
	table.insert(event.form, {
		name = "muc#roominfo_meetingId";
		type = "text-single";
		label = "The meeting unique id.";
		value = event.room._data.meetingId or "";
	});
end
module:hook("muc-disco#info", add_meeting_id);
module:hook("muc-config-form", add_meeting_id, 90 - 3);
