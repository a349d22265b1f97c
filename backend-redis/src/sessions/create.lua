-- Makes a session where nothing stands.
--
-- ARGV[2]: its frame. Answers 1, or 0 where something stands.
--
-- standing.lua is set in front of this.

-- Made by the same call, whose answer was lost.
if is_session and version == version_of(ARGV[2]) then return 1 end
if frame and not (readable and is_over) then return 0 end
put(ARGV[2])
return 1
