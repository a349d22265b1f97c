-- KEYS: the leader, the number of terms. ARGV: the flusher, the milliseconds.
-- Returns the number of the term, or nothing where another flusher leads.
local held = redis.call('GET', KEYS[1])
if held then
  local own = ARGV[1] .. ':'
  if string.sub(held, 1, #own) ~= own then
    return false
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(string.sub(held, #own + 1))
end
local term = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], string.format('%s:%.0f', ARGV[1], term), 'PX', ARGV[2])
return term
