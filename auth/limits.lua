-- The one atomic step of the limiter: asked for some tokens of a client, grants as many as all the
-- windows of its tier have room for, and counts them in all of these.
--
--   KEYS[1]   jotd:{client_id}, a hash with a field for each window
--   ARGV      tokens asked for (0: only look); the limits of the minute, the hour and the month
--             (0: unlimited); for tests, the time in Unix milliseconds in place of Redis's own
--   returns   tokens granted, the time, and for each window: what remains (below 0 when the limit
--             has been lowered) and when more comes back, both times in Unix milliseconds; as one
--             string of 8-byte integers, least significant byte first, since a reply of many parts
--             costs the reader an allocation each
--
-- The minute and the hour slide over slots of a twelfth of their length. Every slot that overlaps
-- the window counts in full, which are 13, so that no span of that length ever holds more than the
-- limit; the price is that quota comes back a slot late. A field is the 13 counts, oldest first, and
-- the number of the newest slot. The month is one of the calendar, UTC; its field is its count and
-- its end. Cost and memory depend neither on the limits nor on the traffic.

local SLOTS = 13
local SLOT_MS = {5000, 300000}
local FIELDS = {'minute', 'hour', 'month'}
local DAY_MS = 86400000

-- Brings the counts up to a slot. A clock that was set back counts on in the slot that it left; one
-- that is back by more than a window starts anew.
local function slide(field, slot)
    local shift = slot - field[SLOTS + 1]
    if shift < 0 and shift > -SLOTS then
        return
    end
    for i = 1, SLOTS do
        field[i] = shift > 0 and field[i + shift] or 0
    end
    for i = math.max(SLOTS + 1 - shift, 1), SLOTS do
        field[i] = 0
    end
    field[SLOTS + 1] = slot
end

-- The end of the month of a day since 1970, as such a day: by the civil calendar with years that
-- begin in March (Howard Hinnant's algorithms).
local function month_end(day)
    local era = math.floor((day + 719468) / 146097)
    local day_of_era = day + 719468 - era * 146097
    local year = math.floor((day_of_era - math.floor(day_of_era / 1460) +
        math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
    local year_day = day_of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local month = math.floor((5 * year_day + 2) / 153)
    if month == 11 then -- February is the last one: March begins the next year
        month, year = -1, year + 1
    end
    return era * 146097 + 365 * year + math.floor(year / 4) - math.floor(year / 100) +
        math.floor((153 * (month + 1) + 2) / 5) - 719468
end

local key, asked = KEYS[1], tonumber(ARGV[1])
local now = tonumber(ARGV[5])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- How far all windows go along with what is asked for.
local stored = redis.call('HMGET', key, 'minute', 'hour', 'month')
local fields, remaining, granted = {}, {-1, -1, -1}, asked
for w = 1, 3 do
    local limit = tonumber(ARGV[w + 1])
    if limit > 0 then
        local ok, field = pcall(cmsgpack.unpack, stored[w])
        local used = 0
        if w == 3 then
            -- A month that ends in more than one was told by a wrong clock.
            if not ok or type(field) ~= 'table' or field[2] <= now or field[2] - now > 31 * DAY_MS then
                field = {0, month_end(math.floor(now / DAY_MS)) * DAY_MS}
            end
            used = field[1]
        else
            local slot = math.floor(now / SLOT_MS[w])
            if not ok or type(field) ~= 'table' or #field ~= SLOTS + 1 then
                field = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, slot}
            elseif field[SLOTS + 1] ~= slot then
                slide(field, slot)
            end
            for i = 1, SLOTS do
                used = used + field[i]
            end
        end
        fields[w] = field
        remaining[w] = limit - used
        granted = math.min(granted, math.max(limit - used, 0))
    end
end

-- What is left after it, and when more comes back.
local resets, written, expires = {0, 0, 0}, {}, now
for w, field in pairs(fields) do
    local newest = #field - 1
    local ends = field[newest + 1]
    field[newest] = field[newest] + granted
    remaining[w] = remaining[w] - granted
    if w < 3 then
        local missing, slot_ms = math.max(1 - remaining[w], 1), SLOT_MS[w]
        resets[w] = now
        for i = 1, SLOTS do
            if field[i] > 0 then
                missing = missing - field[i]
                if missing <= 0 then
                    resets[w] = (ends + i) * slot_ms
                    break
                end
            end
        end
        ends = (ends + SLOTS) * slot_ms
    else
        resets[3] = ends
    end
    expires = math.max(expires, ends)
    if granted > 0 then
        written[#written + 1] = FIELDS[w]
        written[#written + 1] = cmsgpack.pack(field)
    end
end
if #written > 0 then
    redis.call('HSET', key, unpack(written))
    redis.call('PEXPIRE', key, expires - now)
end
return struct.pack('<i8i8i8i8i8i8i8i8', granted, now, remaining[1], resets[1], remaining[2],
    resets[2], remaining[3], resets[3])
