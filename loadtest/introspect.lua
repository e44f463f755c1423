-- POST /introspect for wrk: asks about the tokens of the file TOKENS in turn, with the first line of
-- the file AUTHORIZATIONS. The last line of the output is JSON.
local bodies, at = {}, 0

function init(args)
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    wrk.headers["Authorization"] = io.lines(os.getenv("AUTHORIZATIONS"))()
    for token in io.lines(os.getenv("TOKENS")) do
        bodies[#bodies + 1] = wrk.format("POST", "/introspect", wrk.headers, "token=" .. token)
    end
end

function request()
    at = at % #bodies + 1
    return bodies[at]
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.6f, "p50": %d, "p99": %d, "p99.9": %d, "failed": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
