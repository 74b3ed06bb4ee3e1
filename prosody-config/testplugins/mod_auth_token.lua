-- Stands in for Jitsi's mod_auth_token in tests and the demo; not part of the
-- product. Login is SASL ANONYMOUS; a JWT (HS256, app_id, app_secret) says who
-- it is and is refused when wrong; without one it is a guest, if
-- allow_empty_token says so.
--
-- The token comes in the URL of the websocket or BOSH request (?token=<jwt>),
-- as web clients send it. Clients on TCP have no URL: they put the same text,
-- token=<jwt>, into the initial response of ANONYMOUS (the trace of RFC 4505
-- section 2, whose limit of 255 characters is ignored here).
local jwt = require "util.jwt";
local formdecode = require "util.http".formdecode;
local new_uuid = require "util.uuid".generate;

local app_id = module:get_option_string("app_id");
local app_secret = module:get_option_string("app_secret");
local allow_empty = module:get_option_boolean("allow_empty_token", false);

-- Returns what is wrong with the token, or nil and remembers its claims.
local function verify(session, token)
	if not token or token == "" then
		return not allow_empty and "token required" or nil;
	end
	local ok, claims = jwt.verify(app_secret, token);
	local now = os.time();
	if not ok then
		return "Invalid signature";
	elseif type(claims.exp) ~= "number" or claims.exp <= now then
		return "Not acceptable by exp";
	elseif claims.nbf and claims.nbf > now then
		return "Not acceptable by nbf";
	elseif claims.iss ~= app_id then
		return "Invalid issuer ('iss' claim)";
	end
	session.auth_token = token;
	session.jitsi_meet_room = claims.room;
	session.jitsi_meet_context_user = claims.context and claims.context.user;
end

local function remember_token(event)
	local query = event.request.url and event.request.url.query;
	local params = query and formdecode(query);
	event.session.url_token = type(params) == "table" and params.token or nil;
end
module:hook_global("websocket-session", remember_token);
module:hook_global("bosh-session", remember_token);

local handler = {};
handler.__index = handler;

local function new_handler(session)
	return setmetatable({ session = session, realm = module.host }, handler);
end

function handler:mechanisms() -- luacheck: ignore 212/self
	return { ANONYMOUS = true };
end

function handler:select(mechanism)
	self.selected = mechanism == "ANONYMOUS" and mechanism or nil;
	return self.selected ~= nil;
end

function handler:clean_clone()
	return new_handler(self.session);
end

function handler:process(trace)
	local problem = verify(self.session, trace and trace:match("^token=(.*)$") or self.session.url_token);
	if problem then
		return "failure", "not-allowed", problem;
	end
	self.username = new_uuid();
	return "success";
end

local provider = { get_sasl_handler = new_handler };

-- The rest of the interface: there are no accounts.
function provider.user_exists() return false; end
function provider.test_password() return nil, "no passwords here"; end
function provider.set_password() return nil, "no passwords here"; end
function provider.create_user() return nil, "no accounts here"; end
function provider.delete_user() return nil, "no accounts here"; end

module:provides("auth", provider);
