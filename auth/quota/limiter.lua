-- The atomic step of the limiter: for each client, grants as many of the requested tokens as all
-- windows of its tier have room for, and counts them in each of those windows.
--
--   KEYS      jotd:{client_id} of each client, a hash with one field per window
--   ARGV[1]   per key, four integers: tokens requested (0: only query), and the limits of minute,
--             hour and month (0: unlimited)
--   ARGV[2]   for tests: the time in Unix milliseconds, instead of Redis's own
--   returns   per key, eight integers: tokens granted; the time now; and for each window the tokens
--             remaining (negative after the limit was lowered) and when more return. Times are in
--             Unix milliseconds. Eight times -1 for a key of the wrong type
--
-- One call serves many clients, and all integers travel as 8 bytes, little-endian, in one string:
-- each call, argument or reply element would cost more than the work for one client.
--
-- The minute and the hour slide in slots of a twelfth of their length. Every slot that overlaps the
-- window, up to 13, counts in full, so no span of that length ever exceeds the limit; in exchange,
-- quota returns up to one slot late. Each field holds 13 counts, oldest first, and the number of
-- the newest slot. The month is a calendar month in UTC; its field holds its count and its end.
-- Cost and memory depend on neither the limits nor the traffic.

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

-- Advances the counts to a slot; returns whether they moved. After the clock is set back, the
-- newest slot keeps counting; set back by more than a window, counting starts over.
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

-- The end of this month in Unix milliseconds, by Howard Hinnant's civil calendar algorithms: days
-- since 1970, with years that begin in March.
local function month_end()
    local day = floor(now / DAY_MS)
    local era = floor((day + 719468) / 146097)
    local day_of_era = day + 719468 - era * 146097
    local year = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) -
        floor(day_of_era / 146096)) / 365)
    local year_day = day_of_era - (365 * year + floor(year / 4) - floor(year / 100))
    local month = floor((5 * year_day + 2) / 153)
    if month == 11 then -- February, the last month: March begins the next year
        month, year = -1, year + 1
    end
    return DAY_MS * (era * 146097 + 365 * year + floor(year / 4) - floor(year / 100) +
        floor((153 * (month + 1) + 2) / 5) - 719468)
end

-- Returns the window as of now, whether it moved, and how much of it is used. Raises an error for a
-- missing or unreadable field; the caller then starts an empty window.
local function read_sliding(stored, slot)
    local field, used = cmsgpack.unpack(stored), 0
    assert(#field == SLOTS + 1)
    local moved = slide(field, slot)
    for i = 1, SLOTS do
        if not (field[i] >= 0) then -- also rejects NaN and numeric strings
            error('not a count')
        end
        used = used + field[i]
    end
    return field, moved, used
end

local function read_month(stored)
    local field = cmsgpack.unpack(stored)
    -- An end more than a month away came from a wrong clock.
    assert(#field == 2 and field[1] >= 0 and field[2] > now and field[2] - now <= 31 * DAY_MS)
    return field, false, field[1]
end

-- When a window no longer holds any counts.
local function window_end(w, field)
    return w == 3 and field[2] or (field[SLOTS + 1] + SLOTS) * SLOT_MS[w]
end

-- The same for a window that the tier does not limit; an earlier tier may have left counts in it.
local function unlimited_end(w, stored)
    local ok, ends = pcall(function() return window_end(w, cmsgpack.unpack(stored)) + 0 end)
    return ok and min(ends, now + 31 * DAY_MS) or now
end

-- When a window will have more to grant than now; one used up, when it grants one more token.
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

    -- How many of the requested tokens all windows allow.
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

    -- What is left afterwards, and when more tokens return.
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
        if any_moved then -- otherwise the TTL already reaches the end of the last window
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
        return replies[i] -- an error that every key would get
    end
end
return table.concat(replies)
