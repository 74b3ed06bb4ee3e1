-- Stands in for Jitsi's mod_muc_breakout_rooms in tests and the demo; not part of
-- the product. It keeps these of the original's rules:
--
-- A moderator in a meeting's rooms makes, renames and removes breakout rooms with
-- messages to the component, whose rooms nobody else makes. Roles there are those
-- of the main room. A main room that has had one is not destroyed when it is empty,
-- but once all its rooms have been empty for 5 s.
--
-- 0.3 s after one was made, renamed or removed, or somebody came to or left one of
-- the rooms, everybody in any of them gets the whole list, focus alone excepted.
--
-- The original learns the main room from the URL of a websocket; people of tests
-- have none, so here it is the one that they are in.
local jid = require "util.jid";
local json = require "util.json";
local st = require "util.stanza";
local new_uuid = require "util.uuid".generate;

local main_host = module:get_option_string("main_muc");
local breakout_host = module:get_option_string("breakout_rooms_muc", "breakout." .. module.host);
local broadcast_interval = 0.3;
local ttl_if_all_left = 5;

local main_rooms = {}; -- by the address of a breakout room

local function muc(host) return prosody.hosts[host].modules.muc; end

local function main_room_of(room_jid)
	local _, host = jid.split(room_jid);
	local main_jid = host == main_host and room_jid or main_rooms[room_jid];
	return main_jid and muc(main_host).get_room_from_jid(main_jid), main_jid;
end

local function breakouts_of(main_room)
	local list = {};
	for room_jid in pairs(main_room._data.breakout_rooms or {}) do
		local room = muc(breakout_host).get_room_from_jid(room_jid);
		if room then list[room_jid] = room; end
	end
	return list;
end

local function is_focus(occupant) return jid.node(occupant.jid) == "focus"; end

local function people(room)
	local list = {};
	for nick, occupant in room:each_occupant() do
		if not is_focus(occupant) then
			list[nick] = {
				jid = occupant.jid; role = occupant.role;
				displayName = occupant:get_presence():get_child_text("nick", "http://jabber.org/protocol/nick");
			};
		end
	end
	return list;
end

local function send_to_all(room, text)
	for _, occupant in room:each_occupant() do
		if not is_focus(occupant) then
			module:send(st.message({ from = breakout_host, to = occupant.jid })
				:tag("json-message", { xmlns = "http://jitsi.org/jitmeet" }):text(text):up());
		end
	end
end

local function broadcast(room_jid)
	local room = main_room_of(room_jid);
	if not room or room.broadcast_timer then return; end
	room.broadcast_timer = module:add_timer(broadcast_interval, function ()
		local main_room, main_jid = main_room_of(room_jid);
		if not main_room then return; end
		main_room.broadcast_timer = nil;
		local name = jid.node(main_jid);
		local rooms = { [name] = { isMainRoom = true, id = name, jid = main_jid, participants = people(main_room) } };
		local breakouts = breakouts_of(main_room);
		for breakout_jid, subject in pairs(main_room._data.breakout_rooms or {}) do
			local id, breakout = jid.node(breakout_jid), breakouts[breakout_jid];
			rooms[id] = { id = id, jid = breakout_jid, name = subject, participants = breakout and people(breakout) or {} };
		end
		local text = json.encode({
			type = "breakout_rooms", event = "features/breakout-rooms/update",
			roomCounter = main_room._data.breakout_rooms_counter, rooms = rooms,
		});
		send_to_all(main_room, text);
		for _, breakout in pairs(breakouts) do send_to_all(breakout, text); end
	end);
end

local verbs = {};

verbs["features/breakout-rooms/add"] = function (main_room, attr)
	local data = main_room._data;
	data.breakout_rooms = data.breakout_rooms or {};
	data.breakout_rooms_counter = (data.breakout_rooms_counter or 0) + 1;
	local room_jid = new_uuid() .. "@" .. breakout_host;
	data.breakout_rooms[room_jid] = attr.subject;
	main_rooms[room_jid] = main_room.jid;
	main_room:set_persistent(true);
end

local function remove(main_room, attr)
	local room = breakouts_of(main_room)[attr.breakoutRoomJid];
	if room then room:destroy(main_room.jid, "Breakout room removed."); end
	main_room._data.breakout_rooms[attr.breakoutRoomJid] = nil;
	main_rooms[attr.breakoutRoomJid] = nil;
end
verbs["features/breakout-rooms/remove"] = remove;

verbs["features/breakout-rooms/rename"] = function (main_room, attr)
	main_room._data.breakout_rooms[attr.breakoutRoomJid] = attr.subject;
end

-- Returns the main room of somebody in it, or in a breakout room of it, and who it is.
local function meeting_of(address)
	for room in muc(main_host).each_room() do
		local occupant = room:get_occupant_by_real_jid(address);
		for _, breakout in pairs(occupant and {} or breakouts_of(room)) do
			occupant = occupant or breakout:get_occupant_by_real_jid(address);
		end
		if occupant then return room, occupant; end
	end
end

local function on_message(event)
	local stanza = event.stanza;
	local message = stanza.attr.type ~= "error" and stanza:get_child("breakout_rooms");
	local verb = message and verbs[message.attr.type];
	if not verb then return; end
	local room, occupant = meeting_of(stanza.attr.from);
	if room and occupant.role == "moderator" then
		verb(room, message.attr);
		broadcast(room.jid);
	end
	return true;
end

local function on_joined(event)
	local main_room, main_jid = main_room_of(event.room.jid);
	if not main_room or not main_room._data.breakout_rooms then return; end
	if not is_focus(event.occupant) then broadcast(main_jid); end
	if main_room.close_timer then
		main_room.close_timer:stop();
		main_room.close_timer = nil;
	end
end

local function occupied(main_room)
	for _, occupant in main_room:each_occupant() do
		if not is_focus(occupant) then return true; end
	end
	for _, breakout in pairs(breakouts_of(main_room)) do
		for _, occupant in breakout:each_occupant() do
			if not is_focus(occupant) then return true; end
		end
	end
end

local function on_left(event)
	local main_room, main_jid = main_room_of(event.room.jid);
	if not main_room or not main_room._data.breakout_rooms then return; end
	if not is_focus(event.occupant) then broadcast(main_jid); end
	if main_room.close_timer or occupied(main_room) then return; end
	main_room.close_timer = module:add_timer(ttl_if_all_left, function ()
		local room = main_room_of(main_jid);
		if room and room.close_timer then room:destroy(nil, "All occupants left."); end
	end);
end

local function on_pre_create(event)
	local room = event.room;
	local main_room, main_jid = main_room_of(room.jid);
	if not main_room then
		room:destroy(main_jid, "Breakout room is invalid.");
		return true;
	end
	room:set_subject(room.jid, main_room._data.breakout_rooms[room.jid]);
end

-- get_affiliation of rooms of the breakout MUC asks the main room.
local function add_form_fields(event)
	local _, main_jid = main_room_of(event.room.jid);
	table.insert(event.form, { name = "muc#roominfo_isbreakout"; type = "boolean"; label = "Is this a breakout room?"; value = true; });
	table.insert(event.form, { name = "muc#roominfo_breakout_main_room"; label = "The main room"; value = main_jid; });
end

local function hook_breakout_muc(host_module)
	host_module:hook("message/host", on_message);
	host_module:hook("muc-occupant-joined", on_joined);
	host_module:hook("muc-occupant-left", on_left);
	host_module:hook("muc-room-pre-create", on_pre_create);
	host_module:hook("muc-config-form", add_form_fields);
	muc(breakout_host).room_mt.get_affiliation = function (room, address)
		local main_room = main_room_of(room.jid);
		return main_room and main_room:get_affiliation(address) or "none";
	end;
end

local function hook_main_muc(host_module)
	host_module:hook("muc-occupant-joined", on_joined);
	host_module:hook("muc-occupant-left", on_left);
	host_module:hook("muc-room-destroyed", function (event)
		for room_jid in pairs(event.room._data.breakout_rooms or {}) do
			remove(event.room, { breakoutRoomJid = room_jid });
		end
	end, 1);
end

-- Calls f once the host's muc module is loaded.
local function when_loaded(host, f)
	local function try()
		local h = prosody.hosts[host];
		if h and h.modules and h.modules.muc then
			f(module:context(host));
			return true;
		end
	end
	if try() then return; end
	local done = false;
	local function again() if not done then done = try() or false; end end
	module:hook_global("host-activated", again);
	module:hook_global("server-started", again);
end

when_loaded(breakout_host, hook_breakout_muc);
when_loaded(main_host, hook_main_muc);
