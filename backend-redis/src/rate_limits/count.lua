-- Checks and refunds against a plain integer that expires, as other programs count.
--
-- KEYS: the key of the count, the key of the block.
-- ARGV: what is asked, the limit, the window in milliseconds, the cost, and whether a count without
-- an expiry is one whose window begins now; else it is over.
-- Answers what was counted before, for how many milliseconds yet, and for how many microseconds the
-- key is blocked.
--
-- `now` and `spare` are set in front of this.

local TAKE, REFUND = 1, 2
local key, call = KEYS[1], redis.call
local what, limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local block = call('GET', KEYS[2])
if block and #block == 8 and what <= TAKE then
  local left = struct.unpack('<d', block) - now
  if left > 0 then return { 0, 0, left } end
end

-- No quota: nothing else is looked at.
if window == 0 then return { '0', 0, 0 } end

local text, left = call('GET', key), call('PTTL', key)
local count = 0
if text then
  count = tonumber(text)
  if not count or text:find('[^%d-]') then
    return redis.error_reply('WRONGTYPE the value of ' .. key .. ' is no count')
  end
  if left == -1 and ARGV[5] == '1' then left = window + 1 end
  if left <= 0 or count <= 0 then count = 0 end
end
-- An expiry that was right is left alone: to write it again would move it by a rounding.
local late = left > window
if late then left = window end

if what == TAKE and cost > 0 and cost <= limit - count then
  if count == 0 then
    call('SET', key, ARGV[4], 'PX', ARGV[3])
  else
    call('INCRBY', key, ARGV[4])
  end
elseif what == REFUND and count > cost then
  call('DECRBY', key, ARGV[4])
elseif text and (count == 0 or (what == REFUND and cost > 0)) then
  call('DEL', key)
end
if late and count > 0 then call('PEXPIRE', key, left) end
return { count > 0 and text or '0', left, 0 }
