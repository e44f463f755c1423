-- The one atomic step of the limiter: for each of some clients, asked for some tokens, grants as many
-- as all the windows of its tier have room for, and counts them in all of these.
--
--   KEYS      jotd:{client_id} of each client, a hash with a field for each window
--   ARGV[1]   for each key four integers: tokens asked for (0: only look); the limits of the minute,
--             the hour and the month (0: unlimited)
--   ARGV[2]   for tests, the time in Unix milliseconds in place of Redis's own
--   returns   for each key eight integers: tokens granted; the time; and for each window what
--             remains (below 0 when the limit has been lowered) and when more comes back, both
--             times in Unix milliseconds; for a key that holds something else, eight times -1
--
-- All clients of a pass come in one call, and all integers are 8 bytes, least significant first, in
-- one string: a call, an argument and a part of a reply each cost more than the work for a client.
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
local max, min, floor = math.max, math.min, math.floor

local now = tonumber(ARGV[2])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end

-- Brings the counts up to a slot. False when they are there. A clock that was set back counts on in
-- the slot that it left; one that is back by more than a window starts anew.
local function slide(field, slot)
    local shift = slot - field[SLOTS + 1]
    if shift <= 0 and shift > -SLOTS then
        return false
    end
    for i = 1, SLOTS do
        field[i] = shift > 0 and field[i + shift] or 0
    end
    for i = max(SLOTS + 1 - shift, 1), SLOTS do
        field[i] = 0
    end
    field[SLOTS + 1] = slot
    return true
end

-- The end of this month: by the civil calendar with years that begin in March (Howard Hinnant's
-- algorithms), in days since 1970.
local function month_end()
    local day = floor(now / DAY_MS)
    local era = floor((day + 719468) / 146097)
    local day_of_era = day + 719468 - era * 146097
    local year = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) -
        floor(day_of_era / 146096)) / 365)
    local year_day = day_of_era - (365 * year + floor(year / 4) - floor(year / 100))
    local month = floor((5 * year_day + 2) / 153)
    if month == 11 then -- February is the last one: March begins the next year
        month, year = -1, year + 1
    end
    return DAY_MS * (era * 146097 + 365 * year + floor(year / 4) - floor(year / 100) +
        floor((153 * (month + 1) + 2) / 5) - 719468)
end

-- A window as it is now, whether it has moved on, and what is used of it. Raises an error for a field
-- that is missing or cannot be read: it counts as none.
local function read_sliding(stored, slot)
    local field, used = cmsgpack.unpack(stored), 0
    assert(#field == SLOTS + 1)
    local moved = slide(field, slot)
    for i = 1, SLOTS do
        if not (field[i] >= 0) then -- nor a NaN, nor a text that looks like a number
            error('not a count')
        end
        used = used + field[i]
    end
    return field, moved, used
end

local function read_month(stored)
    local field = cmsgpack.unpack(stored)
    -- A month that ends in more than one was told by a wrong clock.
    assert(#field == 2 and field[1] >= 0 and field[2] > now and field[2] - now <= 31 * DAY_MS)
    return field, false, field[1]
end

-- When a window says nothing any more.
local function window_end(w, field)
    return w == 3 and field[2] or (field[SLOTS + 1] + SLOTS) * SLOT_MS[w]
end

-- The same of one that the client's tier does not limit; of an earlier tier something may be left.
local function unlimited_end(w, stored)
    local ok, ends = pcall(function() return window_end(w, cmsgpack.unpack(stored)) + 0 end)
    return ok and min(ends, now + 31 * DAY_MS) or now
end

-- When a window has more to give than now.
local function next_reset(field, remaining, slot_ms)
    local missing = max(1 - remaining, 1)
    for i = 1, SLOTS do
        if field[i] > 0 then
            missing = missing - field[i]
            if missing <= 0 then
                return (field[SLOTS + 1] + i) * slot_ms
            end
        end
    end
    return now
end

local function take(key, asked, minute, hour, month)
    local stored = redis.pcall('HMGET', key, 'minute', 'hour', 'month')
    local limits, fields, remaining = {minute, hour, month}, {}, {-1, -1, -1}
    local granted, any_moved, expires = asked, false, now

    if stored.err then
        return stored.err:find('^WRONGTYPE') and string.rep('\255', 64) or stored
    end

    -- How far all windows go along with what is asked for.
    for w = 1, 3 do
        if limits[w] > 0 then
            local slot = w < 3 and floor(now / SLOT_MS[w])
            local ok, field, moved, used = pcall(slot and read_sliding or read_month, stored[w], slot)
            if not ok then
                field = slot and {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, slot} or {0, month_end()}
                moved, used = true, 0
            end
            fields[w] = field
            any_moved = any_moved or moved
            remaining[w] = limits[w] - used
            granted = min(granted, max(limits[w] - used, 0))
        elseif stored[w] then
            expires = max(expires, unlimited_end(w, stored[w]))
        end
    end

    -- What is left after it, and when more comes back.
    local resets, written = {0, 0, 0}, {}
    for w, field in pairs(fields) do
        local newest = #field - 1
        field[newest] = field[newest] + granted
        remaining[w] = remaining[w] - granted
        resets[w] = w == 3 and field[2] or next_reset(field, remaining[w], SLOT_MS[w])
        expires = max(expires, window_end(w, field))
        if granted > 0 then
            written[#written + 1] = FIELDS[w]
            written[#written + 1] = cmsgpack.pack(field)
        end
    end
    if #written > 0 then
        redis.call('HSET', key, unpack(written))
        if any_moved then -- else the key lives as long already: until its last window ends
            redis.call('PEXPIRE', key, expires - now)
        end
    end
    return struct.pack('<i8i8i8i8i8i8i8i8', granted, now, remaining[1], resets[1], remaining[2],
        resets[2], remaining[3], resets[3])
end

local replies = {}
for i, key in ipairs(KEYS) do
    replies[i] = take(key, struct.unpack('<i8i8i8i8', ARGV[1], 32 * i - 31))
    if type(replies[i]) == 'table' then
        return replies[i] -- an error that all keys would have
    end
end
return table.concat(replies)
