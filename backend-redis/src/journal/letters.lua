-- KEYS: places, the dead letters. ARGV: the least place, how many, how many bytes of them.
-- Ends with the letter that reaches the bytes.
local letters, bytes = {}, tonumber(ARGV[3])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
  if bytes <= 0 then
    break
  end
  local letter = redis.call('HGET', KEYS[2], key)
  letters[#letters + 1] = key
  letters[#letters + 1] = letter
  bytes = bytes - #(letter or '')
end
return letters
