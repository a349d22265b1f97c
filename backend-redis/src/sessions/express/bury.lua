-- Ends a session.
--
-- ARGV[3]: the tombstone to leave, or nothing to leave none; ARGV[4], ARGV[5]: the version expected,
-- or nothing for any. Answers with the session's text; or with what stands there.
--
-- The tombstone stands for longer than a session lives that a request writes which was under way. The
-- cookie tells for how long that is; the keys do where the other service has a default of its own, or
-- has removed the cookie.
--
-- standing.lua is set in front of this.

local tombstone, is_any = ARGV[3], ARGV[5] == ''

local function bury()
  local left = math.max(life(), redis.call('PTTL', body_key), redis.call('PTTL', note_key))
  left = math.min(left + SPARE, LONGEST)
  redis.call('DEL', body_key)
  if tombstone == '' then return redis.call('DEL', note_key) end
  local until_then = struct.pack('<I8', now + left * 1000)
  for_millis(note_key, tombstone:sub(1, 20) .. until_then .. tombstone:sub(29), left)
end

-- Left by the same call, whose answer was lost.
if has_ended and version_of(note) == version_of(tombstone) then return '' end
if is_any and is_readable and not has_ended and not body then
  -- Another service has ended it, and may have requests under way as well.
  bury()
end
if not body or not (is_any or is_unchanged(ARGV[4], ARGV[5])) then return standing() end
bury()
return body
