-- Checks, refunds and releases, by the rules of larder_core::rate_limit::rule.
--
-- KEYS: of each subject the key of its block, then a key for each quota.
-- ARGV[1]: of each subject what is asked and how many quotas there are, then each of these.
-- ARGV[2]: there where a subject comes twice.
-- Answers what stood under each key before its subject's turn, and the time.
--
-- `now` and `spare` are set in front of this. Times are whole microseconds, and every number is a
-- whole one below 2^53, so that nothing is rounded.

local PEEK, TAKE, REFUND, RELEASE = 0, 1, 2, 3
-- How a state begins, which tells its rule and its form.
local FIXED, SLIDING, GCRA, LEASES = 102, 115, 103, 99

local unpacked, packed = struct.unpack, struct.pack
local byte, sub, floor, ceil = string.byte, string.sub, math.floor, math.ceil
local call, asked = redis.call, ARGV[1]

-- What was written, where it may be asked for again.
local known = ARGV[2] and {}

-- Keeps a state for as long as it counts: `left` microseconds.
local function keep(key, old, new, left)
  if new == old then return end
  if new then
    call('PSETEX', key, ceil(left / 1000) + spare, new)
  else
    call('DEL', key)
  end
  if known then known[key] = new end
end

-- Whether a * b >= c * d, for factors below 2^52. Products are rounded, but never past each other:
-- where they differ so do the true ones.
local function at_least(a, b, c, d)
  local x, y = a * b, c * d
  if x ~= y or x < 9007199254740992 then return x >= y end
  local function halves(m, n)
    local m1, n1 = floor(m / 67108864), floor(n / 67108864)
    local m0, n0 = m - m1 * 67108864, n - n1 * 67108864
    local middle = m1 * n0 + m0 * n1
    local carry = floor(middle / 67108864)
    local low = (middle - carry * 67108864) * 67108864 + m0 * n0
    local over = floor(low / 4503599627370496)
    return m1 * n1 + carry + over, low - over * 4503599627370496
  end
  local high, low = halves(a, b)
  local other_high, other_low = halves(c, d)
  return high > other_high or (high == other_high and low >= other_low)
end

-- A rule settles a state at this moment and does what is asked. `probes` only asks whether a cost
-- fits. It returns whether it does, and where in `asked` the next quota begins.
local rules = {}

rules[FIXED] = function(key, old, at, what, probes)
  local limit, window, cost, after = unpacked('<ddd', asked, at)
  local count, ends = 0, now + window
  if old and #old == 17 and byte(old) == FIXED then
    local counted, til = unpacked('<dd', old, 2)
    if now < til then
      count = counted
      if til < ends then ends = til end
    end
  end
  local fits = cost == 0 or cost <= limit - count
  if probes then return fits, after end
  if what == TAKE then
    if fits then count = count + cost end
  elseif what == REFUND then
    count = count > cost and count - cost or 0
  end
  keep(key, old, count > 0 and packed('<Bdd', FIXED, count, ends), ends - now)
  return fits, after
end

rules[SLIDING] = function(key, old, at, what, probes)
  local limit, window, cost, after = unpacked('<ddd', asked, at)
  local started, current, previous = now, 0, 0
  if old and #old == 25 and byte(old) == SLIDING then
    local start, counted, before = unpacked('<ddd', old, 2)
    if now - start < window then
      if start < now then started = start end
      current, previous = counted, before
    elseif now - start < 2 * window and counted > 0 then
      started, previous = start + window, counted
    end
  end
  local room, elapsed = limit - current - cost, now - started
  -- What has faded of the previous window is rounded down.
  local fits = cost == 0
    or (room >= 0 and (previous <= room or at_least(previous, elapsed, previous - room, window)))
  if probes then return fits, after end
  if what == TAKE then
    if fits then current = current + cost end
  elseif what == REFUND then
    if cost > current then
      previous = cost - current < previous and previous - (cost - current) or 0
      current = 0
    else
      current = current - cost
    end
  end
  local left = window - elapsed
  if current > 0 then left = left + window end
  local new = (current > 0 or previous > 0)
    and packed('<Bddd', SLIDING, started, current, previous)
  keep(key, old, new, left)
  return fits, after
end

-- The debt is a time and a fraction of a microsecond, of which there are `limit`.
rules[GCRA] = function(key, old, at, what, probes)
  local limit, most, most_f, costs, costs_f, room, room_f, after = unpacked('<ddddddd', asked, at)
  local owed, owed_f = 0, 0
  if old and #old == 17 and byte(old) == GCRA then
    local full_at, fraction = unpacked('<dd', old, 2)
    owed = full_at - now
    if owed < 0 then
      owed = 0
    else
      owed_f = fraction < limit and fraction or limit - 1
    end
    if owed > most or (owed == most and owed_f > most_f) then owed, owed_f = most, most_f end
  end
  local fits = owed < room or (owed == room and owed_f <= room_f)
  if probes then return fits, after end
  if what == TAKE then
    if fits then
      owed, owed_f = owed + costs, owed_f + costs_f
      if owed_f >= limit then owed, owed_f = owed + 1, owed_f - limit end
    end
  elseif what == REFUND then
    owed, owed_f = owed - costs, owed_f - costs_f
    if owed_f < 0 then owed, owed_f = owed - 1, owed_f + limit end
    if owed < 0 then owed, owed_f = 0, 0 end
  end
  local new = (owed > 0 or owed_f > 0) and packed('<Bdd', GCRA, now + owed, owed_f)
  keep(key, old, new, owed + 1)
  return fits, after
end

rules[LEASES] = function(key, old, at, what, probes)
  local limit, window, cost, number, after = unpacked('<dddc8', asked, at)
  local latest, held, last, leases = now + window, 0, 0, {}
  if old and byte(old) == LEASES and #old % 24 == 1 then
    for from = 2, #old, 24 do
      local holder, holds, til = unpacked('<c8dd', old, from)
      if now < til and not (what == RELEASE and holder == number) then
        if til > latest then
          til = latest
          leases[#leases + 1] = packed('<c8dd', holder, holds, til)
        else
          leases[#leases + 1] = sub(old, from, from + 23)
        end
        held = held + holds
        if til > last then last = til end
      end
    end
  end
  local fits = cost == 0 or cost <= limit - held
  if probes then return fits, after end
  if what == TAKE and fits and cost > 0 then
    leases[#leases + 1] = packed('<c8dd', number, cost, latest)
    last = latest
  end
  local new = #leases > 0 and string.char(LEASES) .. table.concat(leases)
  keep(key, old, new, last - now)
  return fits, after
end

local found = call('MGET', unpack(KEYS))
local at, n, subject = 1, #asked, 1

while at <= n do
  local what, quotas = byte(asked, at, at + 1)
  at = at + 2
  if known then
    for i = subject, subject + quotas do
      local newer = known[KEYS[i]]
      if newer ~= nil then found[i] = newer end
    end
  end
  local block, blocked = found[subject], false
  if block and #block == 8 and what <= TAKE then blocked = now < unpacked('<d', block) end
  local first, last, fits = subject + 1, subject + quotas, nil
  if blocked or (quotas > 1 and what == TAKE) then
    local from = at
    for i = first, last do
      fits, at = rules[byte(asked, at)](KEYS[i], found[i], at + 1, what, true)
      -- What one of them refuses is counted against none.
      if not fits then what = PEEK end
    end
    if not blocked then at = from end
  end
  if not blocked then
    for i = first, last do
      fits, at = rules[byte(asked, at)](KEYS[i], found[i], at + 1, what, false)
    end
  end
  subject = subject + quotas + 1
end

found[#KEYS + 1] = now
return found
