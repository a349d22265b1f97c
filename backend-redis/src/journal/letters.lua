-- KEYS: places, the dead letters. ARGV: the least place, how many.
local letters = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
  letters[#letters + 1] = key
  letters[#letters + 1] = redis.call('HGET', KEYS[2], key)
end
return letters
