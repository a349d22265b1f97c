-- Replaces a session that has the version expected.
--
-- ARGV[2]: the new frame, ARGV[3]: the version expected. Answers 1, or with what stands there.
--
-- standing.lua is set in front of this.

if not is_session or is_over then return frame end
-- Made by the same call, whose answer was lost.
if version == version_of(ARGV[2]) then return 1 end
if version ~= ARGV[3] then return frame end
put(ARGV[2])
return 1
