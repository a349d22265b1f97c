-- Replaces a session that has the version expected.
--
-- ARGV[3]: the new text, ARGV[4]: its note; ARGV[5], ARGV[6]: the version expected. Answers with the
-- sum of the text, or with what stands there.
--
-- standing.lua is set in front of this.

-- Made by the same call, whose answer was lost.
if body and is_readable and version_of(note) == version_of(ARGV[4]) then
  return redis.sha1hex(ARGV[3])
end
if not is_unchanged(ARGV[5], ARGV[6]) then return standing() end
return put(ARGV[3], ARGV[4])
