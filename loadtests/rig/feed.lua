-- Feeds wrk with the requests of one file, each once: wrk ... -s feed.lua URL -- FILE LENGTH COUNT
local threads = {}
function setup(thread) table.insert(threads, thread) end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  data = file:read("*a")
  file:close()
  length, count, sent = tonumber(args[2]), tonumber(args[3]), 0
end

function request()
  local start = (sent % count) * length
  sent = sent + 1
  return data:sub(start + 1, start + length)
end

function done(summary, latency, requests)
  local given = 0
  for _, thread in ipairs(threads) do given = given + thread:get("sent") end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"given":%d,"http_errors":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), given,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
