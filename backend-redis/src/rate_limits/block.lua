-- Blocks a key until a time from now.
--
-- KEYS[1]: the key of the block. ARGV[1]: how long, in microseconds.
redis.call('SET', KEYS[1], struct.pack('<d', now + ARGV[1]), 'PX', math.ceil(ARGV[1] / 1000) + spare)
return redis.status_reply('OK')
