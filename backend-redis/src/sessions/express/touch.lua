-- Replaces the note of a session, where neither has changed, and lets the session live as long as the
-- note says, or longer.
--
-- ARGV[3]: the new note; ARGV[4]: the note expected; ARGV[5]: the sum of the text expected. Answers
-- 1, or with what stands there.
--
-- standing.lua is set in front of this.

if body and note == ARGV[3] then return 1 end
if not body or note ~= ARGV[4] or redis.sha1hex(body) ~= ARGV[5] then return standing() end
local left = math.min(math.ceil(left_until_end_of(ARGV[3])), LONGEST)
local before = redis.call('PTTL', body_key)
if before >= 0 and before < left then redis.call('PEXPIRE', body_key, left) end
put_note(ARGV[3], math.max(before, left))
return 1
