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

-- A call costs more than what it does, so changes are gathered and written
-- together: those of due before claims are looked for, those of tries at the end.
local known, changed, scores, gone = {}, {}, {}, {}

-- Loads what is known about the heads of these lanes: failures and refusals so
-- far, when the next try counts, and the token of whoever has claimed it.
local function load(meetings)
  local missing = {}
  for _, meeting in ipairs(meetings) do
    if not known[meeting] then
      missing[#missing + 1] = meeting
    end
  end
  if #missing == 0 then
    return
  end
  for i, text in ipairs(redis.call('HMGET', tries, unpack(missing))) do
    local k = {failures = 0, refusals = 0, counts_from = 0, holder = ''}
    if text then
      local f, r, c, holder = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
      k = {failures = tonumber(f), refusals = tonumber(r), counts_from = tonumber(c), holder = holder}
    end
    known[missing[i]] = k
  end
end

local function set(meeting, k)
  known[meeting], changed[meeting] = k, true
end

local function forget(meeting)
  set(meeting, {failures = 0, refusals = 0, counts_from = 0, holder = ''})
end

local function due_at(meeting, at)
  scores[#scores + 1] = ms(at)
  scores[#scores + 1] = meeting
end

local function write_due()
  if #scores > 0 then
    redis.call('ZADD', due, unpack(scores))
  end
  if #gone > 0 then
    redis.call('ZREM', due, unpack(gone))
  end
  scores, gone = {}, {}
end

local function write_tries()
  local written, removed = {}, {}
  for meeting in pairs(changed) do
    local k = known[meeting]
    if k.holder == '' and k.failures == 0 and k.refusals == 0 and k.counts_from == 0 then
      removed[#removed + 1] = meeting
    else
      written[#written + 1] = meeting
      written[#written + 1] = k.failures .. ' ' .. k.refusals .. ' ' .. ms(k.counts_from) .. ' ' .. k.holder
    end
  end
  if #written > 0 then
    redis.call('HSET', tries, unpack(written))
  end
  if #removed > 0 then
    redis.call('HDEL', tries, unpack(removed))
  end
end

local function pop(meeting)
  local head = redis.call('LPOP', lane .. meeting)
  forget(meeting)
  if redis.call('EXISTS', lane .. meeting) == 1 then
    due_at(meeting, now)
  else
    gone[#gone + 1] = meeting
  end
  return head
end

local stale = 0
local settlements, settled = {}, {}
for i = 1, number() do
  local meeting, holds, verdict, failures, refusals = arg(), arg(), arg(), number(), number()
  local schedule, ask, fault, record = number(), number(), arg() == '1', arg()
  settlements[i] = {
    meeting = meeting, holds = holds, verdict = verdict, failures = failures, refusals = refusals,
    schedule = schedule, ask = ask, fault = fault, record = record,
  }
  settled[i] = meeting
end
load(settled)
local some_gaps = redis.call('EXISTS', gaps) == 1

for _, s in ipairs(settlements) do
  local meeting, k = s.meeting, known[s.meeting]
  if k.holder ~= s.holds then
    stale = stale + 1
  else
    local head
    if s.verdict == 'delivered' then
      head = pop(meeting)
      if some_gaps then
        redis.call('ZREM', gaps, meeting)
      end
      fails, since = 0, 0
      if failing then
        failing, recovered, pause = false, true, 0
      end
    elseif s.verdict == 'skipped' then
      head = pop(meeting)
    elseif s.verdict == 'given_up' then
      head = pop(meeting)
      redis.call('XADD', dead, 'MINID', '~', ms(now - retention), '*', 'record', s.record, 'notice', head or '')
      redis.call('ZREMRANGEBYSCORE', gaps, '-inf', ms(now - retention))
      redis.call('ZADD', gaps, ms(now), meeting)
      some_gaps = true
    elseif s.verdict == 'failed' then
      head = redis.call('LINDEX', lane .. meeting, 0)
      local counts_from = k.counts_from
      if s.schedule > 0 then
        counts_from = now + math.max(s.schedule, s.ask)
      end
      set(meeting, {failures = s.failures, refusals = s.refusals, counts_from = counts_from, holder = ''})
      due_at(meeting, s.ask > 0 and now + s.ask or math.max(counts_from, now))
    else
      set(meeting, {failures = k.failures, refusals = k.refusals, counts_from = k.counts_from, holder = ''})
      due_at(meeting, now)
    end
    if s.record ~= '' then
      redis.call('XADD', log, 'MAXLEN', '~', log_length, '*', 'record', s.record, 'notice', head or '')
    end
    if s.fault then
      fails = fails + 1
      if since == 0 then
        since = now
      end
      failing = failing or fails >= failing_after or fails >= 2 and s.failures >= 2
      pause = math.max(pause, now + s.ask)
    end
    if failing then
      -- A probe that was no request is followed by another at once.
      pause = s.verdict == 'skipped' and now or now + math.max(probe, s.ask)
    end
  end
end
write_due()

if hurry or recovered then
  for _, meeting in ipairs(redis.call('ZRANGEBYSCORE', due, '(' .. ms(now), '+inf')) do
    load({meeting})
    if known[meeting].holder == '' then
      redis.call('ZADD', due, ms(now), meeting)
    end
  end
end
if hurry then
  fails, since, pause, failing = 0, 0, 0, false
end

local meetings = {}
if take > 0 and now >= pause then
  if failing then
    -- One try of the lane that has waited longest, due or not. Those that were
    -- claimed before the endpoint failed may still be on their way.
    local first = redis.call('ZRANGE', due, 0, 64)
    load(first)
    for _, meeting in ipairs(first) do
      if known[meeting].holder == '' or tonumber(redis.call('ZSCORE', due, meeting)) <= now then
        meetings, pause = {meeting}, now + lease
        break
      end
    end
  else
    meetings = redis.call('ZRANGEBYSCORE', due, '-inf', ms(now), 'LIMIT', 0, take)
  end
end

local answer = {0, ms(failing and since or 0), stale}
load(meetings)
for i, meeting in ipairs(meetings) do
  local head = redis.call('LINDEX', lane .. meeting, 0)
  if head then
    local k, holder = known[meeting], token .. '.' .. i
    set(meeting, {failures = k.failures, refusals = k.refusals, counts_from = k.counts_from, holder = holder})
    due_at(meeting, now + lease)
    local gap = some_gaps and redis.call('ZSCORE', gaps, meeting)
    for _, v in ipairs({meeting, holder, head, k.failures, k.refusals, k.counts_from <= now and 1 or 0, gap and 1 or 0}) do
      answer[#answer + 1] = v
    end
  else
    gone[#gone + 1] = meeting
    forget(meeting)
  end
end
write_due()
write_tries()

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
