-- Notes that an endpoint may have lists, and moves what versions until November
-- 2026 kept for it: a process of such a version beside this one then finds
-- nothing, and what it still has in flight is settled nowhere.
-- queues.go packs KEYS and ARGV in the order in which they are taken here;
-- keys.go says what each key holds. Answers 1, or 0 when another process leads.

local fence, queues, queued, retry, list, due, tries, gaps, health, lane = unpack(KEYS)

if (tonumber(redis.call('GET', fence)) or 0) > tonumber(ARGV[1]) then
  return 0
end
-- A full Redis refuses a script whose first write needs memory.
redis.call('HDEL', retry, '')
redis.call('SADD', queues, ARGV[2])

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local longest_wait = 27 * 3600 * 1000 -- of the schedule, whatever clocks say

-- Returns a duration in ms as Go's time.Duration has it in JSON.
local function duration(ms)
  return string.format('%.0f', math.min(math.max(ms, 0), longest_wait) * 1e6)
end

local gap = {}
for _, meeting in ipairs(redis.call('ZRANGE', gaps, 0, -1)) do
  gap[meeting] = true
end

for _, meeting in ipairs(redis.call('ZRANGE', due, 0, -1)) do
  local from, to = lane .. meeting, list .. meeting
  if redis.call('EXISTS', to) == 1 then -- an older version led again in between
    for _, event in ipairs(redis.call('LRANGE', from, 0, -1)) do
      redis.call('RPUSH', to, event)
    end
    redis.call('DEL', from)
  elseif redis.call('EXISTS', from) == 1 then
    redis.call('RENAME', from, to)
    local state = redis.call('HGET', tries, meeting) or '0 0 0 '
    local failures, refusals, counts_from = string.match(state, '^(%d+) (%d+) (%d+) ')
    if failures ~= '0' or refusals ~= '0' or gap[meeting] then
      redis.call('HSET', retry, meeting, string.format('{"failures":%s,"refusals":%s,"refused":%s,"due":%s,"gap":%s}',
        failures, refusals, refusals == '0' and '0' or '1', duration(tonumber(counts_from) - now), tostring(gap[meeting] or false)))
    end
    gap[meeting] = nil
  end
  if redis.call('EXISTS', to) == 1 then
    redis.call('SADD', queued, meeting)
  end
end
for meeting in pairs(gap) do -- nothing waits, but the next event has to say so
  redis.call('HSET', retry, meeting, '{"gap":true}')
end

local h = redis.call('HMGET', health, 'fails', 'since', 'failing')
if h[1] then
  local failing = tostring(h[3] == '1')
  redis.call('HSET', retry, 'health', string.format('{"since":%.0f,"failures":%s,"failing":%s,"stalled":%s}',
    math.max(now - tonumber(h[2]), 1) * 1e6, h[1], failing, failing))
end
redis.call('DEL', due, tries, gaps, health)
return 1
