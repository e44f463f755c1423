-- The one atomic step of the limiter: asked for some tokens of a client, grants as many as all the
-- windows of its tier have room for, and counts them in all of these.
--
--   KEYS[1]   jotd:{client_id}, a hash with a field for each window
--   ARGV      tokens asked for (0: only look); the limits of the minute, the hour and the month
--             (0: unlimited); for tests, the time in Unix milliseconds in place of Redis's own
--   returns   tokens granted, the time, and for each window: what remains (below 0 when the limit
--             has been lowered) and when more comes back, both times in Unix milliseconds
--
-- The minute and the hour slide over slots of a twelfth of their length. Every slot that overlaps
-- the window counts in full, which are 13, so that no span of that length ever holds more than the
-- limit; the price is that quota comes back a slot late. A field is the number of the newest slot
-- and the 13 counts up to it, oldest first. The month is one of the calendar, UTC; its field is its
-- number and its count. Cost and memory depend neither on the limits nor on the traffic.

local SLOTS = 13
local SLOT_MS = {5000, 300000}
local FIELDS = {'minute', 'hour', 'month'}
local DAY_MS = 86400000

local key, asked = KEYS[1], tonumber(ARGV[1])
local limits = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}
local now = tonumber(ARGV[5])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The field's numbers, or nil where there are none that can be read.
local function read(text)
    local ok, field = pcall(cmsgpack.unpack, text or '')
    return ok and type(field) == 'table' and field or nil
end

-- The counts of the slots up to now. A clock that was set back counts on in the slot that it left;
-- one that is back by more than a window starts anew.
local function slide(field, slot)
    local shift = field and slot - field[1] or SLOTS
    if shift < 0 and shift > -SLOTS then
        return field
    end
    local slots = {slot}
    for i = 1, SLOTS do
        slots[i + 1] = shift >= 0 and field and field[i + 1 + shift] or 0
    end
    return slots
end

-- When so many tokens have left the window.
local function time_to_free(slots, slot_ms, wanted)
    for i = 1, SLOTS do
        wanted = wanted - slots[i + 1]
        if slots[i + 1] > 0 and wanted <= 0 then
            return (slots[1] + i) * slot_ms
        end
    end
    return now
end

-- The month of a day since 1970 as year * 12 + month - 1, and the first day of a month: days from
-- civil and back, with years that begin in March (Howard Hinnant's algorithms).
local function month_of(day)
    local era = math.floor((day + 719468) / 146097)
    local day_of_era = day + 719468 - era * 146097
    local year = math.floor((day_of_era - math.floor(day_of_era / 1460) +
        math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local march_month = math.floor((5 * day_of_year + 2) / 153)
    return (year + era * 400) * 12 + march_month + 2
end

local function first_day_of(month)
    local march_month = month - 2
    local year = math.floor(march_month / 12)
    local era = math.floor(year / 400)
    local year_of_era = year - era * 400
    local day_of_year = math.floor((153 * (march_month - year * 12) + 2) / 5)
    return era * 146097 + year_of_era * 365 + math.floor(year_of_era / 4) -
        math.floor(year_of_era / 100) + day_of_year - 719468
end

local stored = redis.call('HMGET', key, FIELDS[1], FIELDS[2], FIELDS[3])
local fields, used, granted = {}, {}, asked

for w = 1, 2 do
    if limits[w] > 0 then
        fields[w] = slide(read(stored[w]), math.floor(now / SLOT_MS[w]))
        used[w] = 0
        for i = 1, SLOTS do
            used[w] = used[w] + fields[w][i + 1]
        end
    end
end
local month = month_of(math.floor(now / DAY_MS))
if limits[3] > 0 then
    local field = read(stored[3])
    fields[3] = field and field[1] >= month and field[1] <= month + 1 and field or {month, 0}
    used[3] = fields[3][2]
end

for w, count in pairs(used) do
    granted = math.min(granted, math.max(limits[w] - count, 0))
end

local answer, expires = {granted, now}, now
for w = 1, 3 do
    local remaining, reset, last = -1, 0, now
    if fields[w] then
        local field = fields[w]
        if granted > 0 then
            field[#field] = field[#field] + granted
        end
        remaining = limits[w] - used[w] - granted
        if w == 3 then
            reset = first_day_of(field[1] + 1) * DAY_MS
            last = reset
        else
            reset = time_to_free(field, SLOT_MS[w], math.max(1 - remaining, 1))
            last = (field[1] + SLOTS) * SLOT_MS[w]
        end
    end
    answer[#answer + 1] = remaining
    answer[#answer + 1] = reset
    expires = math.max(expires, last)
end

if granted > 0 then
    local written = {}
    for w = 1, 3 do
        if fields[w] then
            written[#written + 1] = FIELDS[w]
            written[#written + 1] = cmsgpack.pack(fields[w])
        end
    end
    if #written > 0 then
        redis.call('HSET', key, unpack(written))
        redis.call('PEXPIRE', key, expires - now)
    end
end
return answer
