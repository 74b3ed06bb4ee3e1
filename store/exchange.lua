-- Settles claims of one endpoint's lanes and gives out new ones.
-- lanes.go packs KEYS and ARGV in the order in which they are taken here;
-- keys.go says what each key holds. The keys of lanes are made here from their
-- common prefix, because which lanes are due only Redis knows; the braces in it
-- keep them in the same slot.
--
-- Answers {wait in ms or -1, failing since in ms or 0, stale settlements, and
-- for each claim: meeting, token, notice, failures, refusals, counts, gap}.

local due, tries, gaps, health, dead, log, lane = unpack(KEYS)
local a = 0
local function arg() a = a + 1; return ARGV[a] end
local function number() return tonumber(arg()) end
local take, token, lease, probe, hurry = number(), arg(), number(), number(), arg() == '1'
local retention, log_length, failing_after = number(), arg(), number()

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function ms(n) return string.format('%.0f', n) end

-- A full Redis refuses a script whose first write needs memory. This write needs
-- none, so lanes can be emptied even then.
redis.call('HDEL', health, '')

local h = redis.call('HMGET', health, 'fails', 'since', 'until', 'failing')
local fails, since = tonumber(h[1]) or 0, tonumber(h[2]) or 0
local pause, failing = tonumber(h[3]) or 0, h[4] == '1'
local recovered = false

-- What is known about a lane's head: failures and refusals so far, when the
-- next try counts, and the token of whoever has claimed it.
local function read(meeting)
  local known = redis.call('HGET', tries, meeting)
  if not known then
    return 0, 0, 0, ''
  end
  local f, r, counts_from, holder = string.match(known, '^(%d+) (%d+) (%d+) (.*)$')
  return tonumber(f), tonumber(r), tonumber(counts_from), holder
end

local function write(meeting, f, r, counts_from, holder)
  redis.call('HSET', tries, meeting, f .. ' ' .. r .. ' ' .. ms(counts_from) .. ' ' .. holder)
end

local function pop(meeting)
  local head = redis.call('LPOP', lane .. meeting)
  redis.call('HDEL', tries, meeting)
  if redis.call('EXISTS', lane .. meeting) == 1 then
    redis.call('ZADD', due, ms(now), meeting)
  else
    redis.call('ZREM', due, meeting)
  end
  return head
end

local stale = 0
for _ = 1, number() do
  local meeting, holds, verdict = arg(), arg(), arg()
  local f, r, schedule, ask, fault, record = number(), number(), number(), number(), arg() == '1', arg()
  local _, _, counts_from, holder = read(meeting)
  if holder ~= holds then
    stale = stale + 1
  else
    local head
    if verdict == 'delivered' then
      head = pop(meeting)
      redis.call('ZREM', gaps, meeting)
      fails, since = 0, 0
      if failing then
        failing, recovered, pause = false, true, 0
      end
    elseif verdict == 'given_up' then
      head = pop(meeting)
      redis.call('XADD', dead, 'MINID', '~', ms(now - retention), '*', 'record', record, 'notice', head or '')
      redis.call('ZREMRANGEBYSCORE', gaps, '-inf', ms(now - retention))
      redis.call('ZADD', gaps, ms(now), meeting)
    elseif verdict == 'failed' then
      head = redis.call('LINDEX', lane .. meeting, 0)
      if schedule > 0 then
        counts_from = now + math.max(schedule, ask)
      end
      write(meeting, f, r, counts_from, '')
      redis.call('ZADD', due, ms(ask > 0 and now + ask or math.max(counts_from, now)), meeting)
    else
      f, r = read(meeting)
      write(meeting, f, r, counts_from, '')
      redis.call('ZADD', due, ms(now), meeting)
    end
    if record ~= '' then
      redis.call('XADD', log, 'MAXLEN', '~', log_length, '*', 'record', record, 'notice', head or '')
    end
    if fault then
      fails = fails + 1
      if since == 0 then
        since = now
      end
      failing = failing or fails >= failing_after or fails >= 2 and f >= 2
      pause = math.max(pause, now + ask)
    end
    if failing then
      pause = now + math.max(probe, ask)
    end
  end
end

if hurry or recovered then
  for _, meeting in ipairs(redis.call('ZRANGEBYSCORE', due, '(' .. ms(now), '+inf')) do
    local _, _, _, holder = read(meeting)
    if holder == '' then
      redis.call('ZADD', due, ms(now), meeting)
    end
  end
end
if hurry then
  pause = 0
end

local meetings = {}
if take > 0 and now >= pause then
  if failing then
    -- One try of the lane that has waited longest, due or not. Those that were
    -- claimed before the endpoint failed may still be on their way.
    for _, meeting in ipairs(redis.call('ZRANGE', due, 0, 64)) do
      local _, _, _, holder = read(meeting)
      if holder == '' or tonumber(redis.call('ZSCORE', due, meeting)) <= now then
        meetings, pause = {meeting}, now + lease
        break
      end
    end
  else
    meetings = redis.call('ZRANGEBYSCORE', due, '-inf', ms(now), 'LIMIT', 0, take)
  end
end

local answer = {0, ms(failing and since or 0), stale}
local some_gaps = redis.call('EXISTS', gaps) == 1
for i, meeting in ipairs(meetings) do
  local head = redis.call('LINDEX', lane .. meeting, 0)
  if head then
    local f, r, counts_from = read(meeting)
    local holder = token .. '.' .. i
    write(meeting, f, r, counts_from, holder)
    redis.call('ZADD', due, ms(now + lease), meeting)
    local gap = some_gaps and redis.call('ZSCORE', gaps, meeting)
    for _, v in ipairs({meeting, holder, head, f, r, counts_from <= now and 1 or 0, gap and 1 or 0}) do
      answer[#answer + 1] = v
    end
  else
    redis.call('ZREM', due, meeting)
    redis.call('HDEL', tries, meeting)
  end
end

if fails > 0 or failing or pause > now then
  redis.call('HSET', health, 'fails', fails, 'since', ms(since), 'until', ms(pause), 'failing', failing and '1' or '0')
elseif h[1] then
  redis.call('DEL', health)
end

if #meetings < take then
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if not first[1] then
    answer[1] = -1
  else
    answer[1] = ms(math.max(0, pause - now, tonumber(first[2]) - now))
  end
end
return answer
