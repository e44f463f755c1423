-- POST /token for wrk, with random clients: each request has the Authorization value of one of the
-- first CLIENTS lines of the file AUTHORIZATIONS.
--
-- With THINK_MS, each connection waits between an answer and the next request for a random time of
-- that mean (exponential, so that arrivals are nearly independent): wrk has no fixed rates.
-- The last line of the output is JSON.
local count = tonumber(os.getenv("CLIENTS"))
local think_ms = tonumber(os.getenv("THINK_MS") or "0")
local requests = {}

function init(args)
    math.randomseed(os.time())
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    for value in io.lines(os.getenv("AUTHORIZATIONS")) do
        wrk.headers["Authorization"] = value
        requests[#requests + 1] =
            wrk.format("POST", "/token", wrk.headers, "grant_type=client_credentials")
        if #requests == count then break end
    end
end

function request()
    return requests[math.random(#requests)]
end

if think_ms > 0 then
    function delay()
        return math.floor(-think_ms * math.log(1 - math.random()) + 0.5)
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.6f, "p50": %d, "p99": %d, "p99.9": %d, "failed": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
