-- Stands in for Jitsi's mod_muc_lobby_rooms in tests; not part of the product. It
-- keeps these of the original's rules:
--
-- A room that an owner makes members-only gets a lobby, a persistent room of the same
-- name on the lobby's MUC, and loses it with that, or with itself; both with the
-- status 104 to everybody in the room. Who has no affiliation with the room is
-- refused with the address of its lobby. Affiliations in a lobby are those of its
-- main room, whatever the lobby's own MUC has for them.
--
-- The original also keeps from web clients what a lobby sends to all but owners: a
-- component's stream has no filters.
local jid = require "util.jid";
local st = require "util.stanza";

local main_host = module:get_option_string("main_muc");
local lobby_host = module:get_option_string("lobby_muc");
if not lobby_host then return; end -- a guest host

local function muc(host) return prosody.hosts[host].modules.muc; end

local function destroy(room)
	local lobby = room._data.lobbyroom and muc(lobby_host).get_room_from_jid(room._data.lobbyroom);
	room._data.lobbyroom = nil;
	if lobby then
		lobby:set_persistent(false);
		lobby:destroy(room.jid, "Lobby room closed.");
	end
end

local function on_config(event)
	local room = event.room;
	if jid.node(event.actor) == "focus" then return; end
	if not event.fields["muc#roomconfig_membersonly"] then
		destroy(room);
	elseif not room._data.lobbyroom then
		local lobby = muc(lobby_host).create_room(jid.node(room.jid) .. "@" .. lobby_host);
		lobby:set_persistent(true);
		lobby.main_room_jid = room.jid;
		room._data.lobbyroom = lobby.jid;
		event.status_codes["104"] = true;
	end
end

local function on_pre_join(event)
	local room, stanza = event.room, event.stanza;
	local affiliation = room:get_affiliation(stanza.attr.from);
	if not room._data.lobbyroom or affiliation and affiliation ~= "none" then return; end
	local reply = st.error_reply(stanza, "auth", "registration-required");
	reply:tag("lobbyroom", { xmlns = "http://jitsi.org/jitmeet" }):text(room._data.lobbyroom):up():up();
	event.origin.send(reply:tag("x", { xmlns = "http://jabber.org/protocol/muc" }));
	return true;
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

when_loaded(lobby_host, function ()
	muc(lobby_host).room_mt.get_affiliation = function (room, address)
		local main = room.main_room_jid and muc(main_host).get_room_from_jid(room.main_room_jid);
		return main and main:get_affiliation(address) or "none";
	end;
end);

when_loaded(main_host, function (host_module)
	host_module:hook("muc-config-submitted", on_config);
	host_module:hook("muc-room-destroyed", function (event) destroy(event.room); end, 1);
	host_module:hook("muc-occupant-pre-join", on_pre_join, -4);
end);
