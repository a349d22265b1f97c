-- Notes in a user's index that a session of theirs may stand under a key until a time.
--
-- KEYS[1]: the index. ARGV: the millisecond it is, the key, the time in milliseconds, and for how
-- many milliseconds what is over is kept yet, for clocks that differ.

local call, index = redis.call, KEYS[1]
local now, ends, spare = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
call('ZREMRANGEBYSCORE', index, '-inf', now - spare)
-- A time is never brought forward: the session may have been used meanwhile.
local before = call('ZSCORE', index, ARGV[2])
if not before or tonumber(before) < ends then call('ZADD', index, ends, ARGV[2]) end
local last = call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
call('PEXPIRE', index, math.max(0, tonumber(last[2]) - now) + spare)
return 1
